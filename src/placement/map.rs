//! Which module is on which device.

use std::collections::BTreeMap;

use super::tree::is_within;
use super::{Device, ModuleTree, PlacementError};

/// Modules and their devices: transformers' `device_map` as it is once it is decided. `""` is the whole model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceMap(BTreeMap<String, Device>);

impl DeviceMap {
    /// The whole model on one device.
    pub fn all(device: Device) -> DeviceMap {
        DeviceMap([(String::new(), device)].into())
    }

    /// Puts a module somewhere.
    pub fn insert(&mut self, module: &str, device: Device) {
        self.0.insert(module.to_owned(), device);
    }

    /// Every key and its device, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Device)> {
        self.0.iter().map(|(module, device)| (module.as_str(), *device))
    }

    /// Where a module or a tensor is: by the longest key that covers it.
    pub fn device_of(&self, name: &str) -> Option<Device> {
        let covering = self.0.iter().filter(|(module, _)| is_within(name, module));
        covering.max_by_key(|(module, _)| module.len()).map(|(_, device)| *device)
    }

    /// Checks that every tensor has a device, that every key is a module, and that tied tensors are together.
    ///
    /// # Errors
    /// [`PlacementError`] that names what is wrong.
    pub fn check(&self, tree: &ModuleTree) -> Result<(), PlacementError> {
        let unknown: Vec<String> = self.0.keys().filter(|key| !key.is_empty() && !tree.has(key)).cloned().collect();
        if !unknown.is_empty() {
            return Err(PlacementError::UnknownModules { modules: unknown });
        }
        let missing: Vec<String> =
            tree.tensors().filter(|tensor| self.device_of(tensor).is_none()).map(str::to_owned).collect();
        if !missing.is_empty() {
            return Err(PlacementError::Incomplete { modules: missing });
        }
        for group in tree.tied() {
            for pair in group.windows(2) {
                if let [owner, tied] = pair
                    && self.device_of(owner) != self.device_of(tied)
                {
                    return Err(PlacementError::TiedApart { tied: tied.clone(), owner: owner.clone() });
                }
            }
        }
        Ok(())
    }

    /// Names a module once where all that is in it is on one device: accelerate's `clean_device_map`.
    pub(super) fn clean(&mut self) {
        self.clean_within("");
    }

    fn clean_within(&mut self, module: &str) {
        let prefix = if module.is_empty() { String::new() } else { format!("{module}.") };
        let within: Vec<String> = self.0.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        let devices: Vec<Device> = within.iter().filter_map(|key| self.0.get(key).copied()).collect();
        if let [first, _, ..] = devices.as_slice()
            && devices.iter().all(|device| device == first)
        {
            let device = *first;
            self.0.retain(|key, _| !key.starts_with(&prefix));
            self.0.insert(module.to_owned(), device);
        }
        let mut children: Vec<String> = Vec::new();
        for key in self.0.keys().filter(|key| key.starts_with(&prefix) && key.len() > module.len()) {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            let child = format!("{prefix}{}", rest.split('.').next().unwrap_or_default());
            if children.last() != Some(&child) && child != module {
                children.push(child);
            }
        }
        children.iter().for_each(|child| self.clean_within(child));
    }
}
