//! accelerate's `infer_auto_device_map`: module by module in the model's order, each on the first device that still has
//! room, while the GPU and the CPU keep as much free as the largest layer takes that is still to be placed.

use std::collections::VecDeque;

use super::tree::{ModuleTree, is_within};
use super::{Device, DeviceMap, MaxMemory};

/// The map for these budgets. The disk takes what nothing else does, so that there always is one.
pub fn infer_device_map(tree: &ModuleTree, max_memory: &MaxMemory) -> DeviceMap {
    let budgets = [(Device::Gpu, max_memory.gpu), (Device::Cpu, max_memory.cpu)];
    let devices = budgets.into_iter().filter_map(|(device, bytes)| Some((device, Some(i128::from(bytes?)))));
    let mut devices = devices.chain([(Device::Disk, None)]);
    let mut map = DeviceMap::default();
    let mut waiting: VecDeque<usize> = tree.top().iter().copied().collect();
    let mut largest = Largest::of(tree, &waiting);
    let Some((mut device, mut budget)) = devices.next() else { return map };
    let mut used: i128 = 0;
    while let Some(index) = waiting.pop_front() {
        let Some(node) = tree.node(index) else { continue };
        largest.names.retain(|name| !is_within(name, &node.name));
        if largest.names.is_empty() {
            largest = Largest::of(tree, &waiting);
        }
        let Some(bytes) = budget else {
            map.insert(&node.name, device);
            continue;
        };
        let room = bytes - i128::from(largest.bytes);
        let tied = tied_to(tree, &node.name, &waiting);
        let size = i128::from(node.bytes);
        // What ties bring along beyond the weight itself, which is counted once.
        let along = |(parameter, module): &(&str, usize)| -> i128 {
            let module = tree.node(*module).map_or(0, |module| module.bytes);
            i128::from(module) - i128::from(tree.bytes_of(parameter))
        };
        let with_ties = size + tied.iter().map(along).sum::<i128>();
        if used + with_ties <= room {
            used += with_ties;
            map.insert(&node.name, device);
            for (_, module) in &tied {
                waiting.retain(|waits| waits != module);
                if let Some(module) = tree.node(*module) {
                    map.insert(&module.name, device);
                }
            }
            continue;
        }
        // It fits, and what it is tied to doesn't: perhaps a part of that does.
        if !tied.is_empty() && used + size <= room {
            let can_split = |module: usize| {
                tree.modules(module).next().is_some() && tree.node(module).is_some_and(|module| !module.is_whole)
            };
            if let Some((_, module)) = tied.iter().find(|(_, module)| can_split(*module)) {
                let at = waiting.iter().position(|waits| waits == module).unwrap_or_default();
                let rest = waiting.split_off(at);
                waiting.extend(tree.children(*module));
                waiting.extend(rest.into_iter().skip(1));
                waiting.push_front(index);
                largest = Largest::of(tree, &waiting);
                continue;
            }
        }
        if used + size >= room && !node.is_whole && !node.is_tensor && tree.modules(index).next().is_some() {
            tree.children(index).iter().rev().for_each(|child| waiting.push_front(*child));
            largest = Largest::of(tree, &waiting);
            continue;
        }
        waiting.push_front(index);
        match devices.next() {
            Some(next) => (device, budget) = next,
            None => break,
        }
        used = 0;
    }
    map.clean();
    map
}

/// The layers that take most of what is still to be placed: modules without modules in them, or that aren't split.
struct Largest {
    bytes: u64,
    names: Vec<String>,
}

impl Largest {
    fn of(tree: &ModuleTree, waiting: &VecDeque<usize>) -> Largest {
        let mut largest = Largest { bytes: 0, names: Vec::new() };
        let mut look: Vec<usize> = waiting.iter().copied().collect();
        while let Some(index) = look.pop() {
            let Some(node) = tree.node(index).filter(|node| !node.is_tensor) else { continue };
            if !node.is_whole && tree.modules(index).next().is_some() {
                look.extend(tree.modules(index));
                continue;
            }
            if node.bytes > largest.bytes {
                largest = Largest { bytes: node.bytes, names: Vec::new() };
            }
            if node.bytes == largest.bytes {
                largest.names.push(node.name.clone());
            }
        }
        largest
    }
}

/// Tensors outside a module that are tied to some inside it, with the modules that wait and have them.
fn tied_to<'a>(tree: &'a ModuleTree, name: &str, waiting: &VecDeque<usize>) -> Vec<(&'a str, usize)> {
    let groups = tree.tied().iter().filter(|group| {
        let within = group.iter().filter(|tensor| is_within(tensor, name)).count();
        within > 0 && within < group.len()
    });
    let outside = groups.flatten().filter(|tensor| !is_within(tensor, name));
    let waits = |tensor: &str| {
        waiting.iter().copied().find(|index| tree.node(*index).is_some_and(|node| is_within(tensor, &node.name)))
    };
    outside.filter_map(|tensor| Some((tensor.as_str(), waits(tensor)?))).collect()
}
