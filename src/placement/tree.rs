//! A model's modules, as its tensors' names tell them.

/// A tensor, or a module with what is in it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Its whole name.
    pub name: String,
    /// Bytes, all of its tensors together.
    pub bytes: u64,
    /// Its tensors, and then its modules. A tensor has none.
    pub children: Vec<usize>,
    pub is_tensor: bool,
    /// Whether it stays in one place.
    pub is_whole: bool,
}

/// A model's modules and their sizes.
#[derive(Debug, Clone)]
pub struct ModuleTree {
    nodes: Vec<Node>,
    tied: Vec<Vec<String>>,
}

impl ModuleTree {
    /// `tensors` are names and bytes, in the model's order; of tied ones the first has the bytes, the others none.
    /// `whole` are modules that are not split, `tied` the names of tensors that are one.
    pub fn new<'a>(
        tensors: impl IntoIterator<Item = (&'a str, u64)>,
        whole: &[String],
        tied: Vec<Vec<String>>,
    ) -> ModuleTree {
        let root = Node { name: String::new(), bytes: 0, children: Vec::new(), is_tensor: false, is_whole: false };
        let mut tree = ModuleTree { nodes: vec![root], tied };
        for (name, bytes) in tensors {
            let mut at = 0;
            tree.add(at, bytes);
            let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
            for end in ends {
                let prefix = name.get(..end).unwrap_or_default();
                at = tree.child(at, prefix, end == name.len(), whole);
                tree.add(at, bytes);
            }
        }
        // torch names a module's own tensors before its modules.
        for index in 0..tree.nodes.len() {
            let Some(mut children) = tree.nodes.get(index).map(|node| node.children.clone()) else { continue };
            children.sort_by_key(|child| tree.nodes.get(*child).is_some_and(|child| !child.is_tensor));
            if let Some(node) = tree.nodes.get_mut(index) {
                node.children = children;
            }
        }
        tree
    }

    fn add(&mut self, index: usize, bytes: u64) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.bytes = node.bytes.saturating_add(bytes);
        }
    }

    fn child(&mut self, parent: usize, name: &str, is_tensor: bool, whole: &[String]) -> usize {
        let children = self.nodes.get(parent).map(|node| node.children.as_slice()).unwrap_or_default();
        let found = children.iter().copied().find(|child| self.node(*child).is_some_and(|child| child.name == name));
        found.unwrap_or_else(|| {
            let index = self.nodes.len();
            let is_whole = whole.iter().any(|module| module == name);
            self.nodes.push(Node { name: name.to_owned(), bytes: 0, children: Vec::new(), is_tensor, is_whole });
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.children.push(index);
            }
            index
        })
    }

    pub(super) fn node(&self, index: usize) -> Option<&Node> {
        self.nodes.get(index)
    }

    /// The root's children.
    pub(super) fn top(&self) -> &[usize] {
        self.children(0)
    }

    pub(super) fn children(&self, index: usize) -> &[usize] {
        self.nodes.get(index).map(|node| node.children.as_slice()).unwrap_or_default()
    }

    /// Children that are modules.
    pub(super) fn modules(&self, index: usize) -> impl Iterator<Item = usize> {
        self.children(index).iter().copied().filter(|child| self.node(*child).is_some_and(|child| !child.is_tensor))
    }

    /// Bytes of a tensor or a module; of one that isn't there none.
    pub(super) fn bytes_of(&self, name: &str) -> u64 {
        self.nodes.iter().find(|node| node.name == name).map_or(0, |node| node.bytes)
    }

    pub(super) fn tied(&self) -> &[Vec<String>] {
        &self.tied
    }

    /// Every tensor's name.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(|node| node.is_tensor).map(|node| node.name.as_str())
    }

    /// Whether there is such a module, or it is the whole.
    pub(super) fn has(&self, name: &str) -> bool {
        self.nodes.iter().any(|node| node.name == name)
    }
}

/// Whether a tensor or module is that module, or in it.
pub fn is_within(name: &str, module: &str) -> bool {
    module.is_empty() || name.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
