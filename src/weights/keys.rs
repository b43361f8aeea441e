//! From a checkpoint's names to a model's: what transformers does between reading a state dict and calling the model
//! loaded (`convert_and_load_state_dict_in_model`, `_adjust_missing_and_unexpected_keys`), with the same outcome.

use std::collections::{BTreeMap, BTreeSet};

/// What a model's state dict is called and shaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelKeys {
    /// transformers' `base_model_prefix`: the name under which a model with a head has the model without one.
    pub base_prefix: &'static str,
    /// Every name with its shape, those of tied tensors too.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Pairs that are one tensor: a name, and the one whose tensor it is.
    pub tied: Vec<(String, String)>,
    /// The one of them that is the head's projection and the embedding, where they are one tensor.
    pub head: Option<(String, String)>,
    /// What older checkpoints call a module, and what the model calls it.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Endings of names that older checkpoints have and nobody misses, such as a rotary embedding's frequencies.
    pub ignored: &'static [&'static str],
    /// Endings of the model's own names that nobody misses where a checkpoint lacks them.
    pub spared: &'static [&'static str],
}

/// What loading a checkpoint came to: transformers' `loading_info`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadingInfo {
    /// The model's tensors that the checkpoint lacks; they are initialised anew.
    pub missing_keys: BTreeSet<String>,
    /// The checkpoint's tensors that the model has no place for, as the model would call them.
    pub unexpected_keys: BTreeSet<String>,
    /// Tensors of another shape than the model's, which are initialised anew: name, checkpoint's shape, model's.
    pub mismatched_keys: BTreeSet<(String, Vec<usize>, Vec<usize>)>,
}

/// Which of a checkpoint's tensors become which of a model's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    /// By the model's name: the checkpoint's. Tied names that the checkpoint lacks are not in it.
    pub sources: BTreeMap<String, String>,
    /// What is left over on either side.
    pub info: LoadingInfo,
}

impl ModelKeys {
    /// Finds the model's tensors among those of a checkpoint, given with their shapes.
    pub fn match_with<'a>(&self, checkpoint: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Matched {
        let mut matched = Matched::default();
        for (name, shape) in checkpoint {
            let key = self.rename(name);
            let Some(expected) = self.shapes.get(&key) else {
                if !self.ignored.iter().any(|ending| key.ends_with(ending)) {
                    matched.info.unexpected_keys.insert(key);
                }
                continue;
            };
            if shape == expected.as_slice() {
                matched.sources.insert(key, name.to_owned());
            } else {
                matched.info.mismatched_keys.insert((key, shape.to_vec(), expected.clone()));
            }
        }
        let mismatched = |key: &String| matched.info.mismatched_keys.iter().any(|(name, _, _)| name == key);
        let spared = |key: &String| self.spared.iter().any(|ending| key.ends_with(ending));
        let is_missing = |key: &&String| !matched.sources.contains_key(*key) && !mismatched(key) && !spared(key);
        let missing = self.shapes.keys().filter(is_missing);
        matched.info.missing_keys = missing.cloned().collect();
        for (name, source) in &self.tied {
            let missing = &mut matched.info.missing_keys;
            match (missing.contains(name), missing.contains(source)) {
                (true, false) => missing.remove(name),
                (false, true) => missing.remove(source),
                _ => false,
            };
        }
        matched
    }

    /// The model's name for what a checkpoint calls `name`.
    fn rename(&self, name: &str) -> String {
        let modern = modernise(name);
        let key = self.fit_prefix(&modern);
        // A name that is right as it is was never legacy.
        if self.shapes.contains_key(&key) || !self.shapes.contains_key(name) {
            return self.renamed(&key).unwrap_or(key);
        }
        self.fit_prefix(name)
    }

    /// What a module that has been renamed is called now, where the model has it.
    fn renamed(&self, key: &str) -> Option<String> {
        let renamed = self.renamed.iter().filter_map(|(old, new)| {
            let rest = key.strip_prefix(old).filter(|rest| rest.starts_with('.'))?;
            Some(format!("{new}{rest}"))
        });
        renamed.into_iter().find(|key| self.shapes.contains_key(key))
    }

    /// Strips the base model's prefix where the model is the base, adds it where it is missing.
    fn fit_prefix(&self, name: &str) -> String {
        let bare = name.strip_prefix(self.base_prefix).and_then(|rest| rest.strip_prefix('.'));
        if let Some(bare) = bare.filter(|bare| self.shapes.contains_key(*bare)) {
            return bare.to_owned();
        }
        let prefixed = format!("{}.{name}", self.base_prefix);
        if self.shapes.contains_key(&prefixed) { prefixed } else { name.to_owned() }
    }
}

/// TensorFlow's names of a layer norm's weights, and the weight norm's of older torch, as they are called today.
fn modernise(name: &str) -> String {
    const LEGACY: [(&str, &str); 4] = [
        ("LayerNorm.gamma", "LayerNorm.weight"),
        ("LayerNorm.beta", "LayerNorm.bias"),
        (".weight_g", ".parametrizations.weight.original0"),
        (".weight_v", ".parametrizations.weight.original1"),
    ];
    LEGACY.iter().fold(name.to_owned(), |name, (old, new)| name.replace(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn shapes(value: &Value) -> BTreeMap<String, Vec<usize>> {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn names(value: &Value) -> BTreeSet<String> {
        serde_json::from_value(value.clone()).unwrap()
    }

    /// BERT's checkpoints have all that names can have: a base model's prefix, TensorFlow's names, tied heads.
    #[test]
    fn names_find_each_other_as_in_transformers() {
        let goldens: Value = serde_json::from_str(include_str!("../../tests/goldens/loading.json")).unwrap();
        for case in goldens["keys"].as_array().unwrap() {
            let keys = ModelKeys {
                base_prefix: "bert",
                shapes: shapes(&case["model"]),
                tied: serde_json::from_value(case["tied"].clone()).unwrap(),
                head: None,
                renamed: &[],
                ignored: &["position_ids"],
                spared: &[],
            };
            let checkpoint = shapes(&case["checkpoint"]);
            let matched = keys.match_with(checkpoint.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())));
            let about = format!("{} from {} tensors", case["class_name"], checkpoint.len());
            assert_eq!(matched.info.missing_keys, names(&case["missing_keys"]), "{about}");
            assert_eq!(matched.info.unexpected_keys, names(&case["unexpected_keys"]), "{about}");
            assert!(matched.info.mismatched_keys.is_empty(), "{about}");
            for (key, source) in &matched.sources {
                assert_eq!(keys.shapes[key], checkpoint[source], "{about}: {key}");
            }
        }
    }

    #[test]
    fn another_shape_is_neither_missing_nor_there() {
        let keys = ModelKeys {
            base_prefix: "model",
            shapes: [("model.a".to_owned(), vec![2, 3])].into(),
            tied: Vec::new(),
            head: None,
            renamed: &[],
            ignored: &[],
            spared: &[],
        };
        let matched = keys.match_with([("a", &[3, 2][..])]);
        let info = LoadingInfo {
            mismatched_keys: [("model.a".to_owned(), vec![3, 2], vec![2, 3])].into(),
            ..LoadingInfo::default()
        };
        assert_eq!(matched, Matched { sources: BTreeMap::new(), info });
    }
}
