//! The maps that accelerate infers, and what holds for every map.

use super::*;
use serde_json::Value;

fn goldens() -> Value {
    serde_json::from_str(include_str!("../../tests/goldens/placement.json")).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn tree(model: &Value) -> ModuleTree {
    let tensors = model["tensors"].as_array().unwrap();
    let tensors = tensors.iter().map(|row| (row[0].as_str().unwrap(), row[1].as_u64().unwrap()));
    ModuleTree::new(tensors, &texts(&model["whole"]), model["tied"].as_array().unwrap().iter().map(texts).collect())
}

#[test]
fn sizes_are_read_as_accelerate_reads_them() {
    for case in goldens()["sizes"].as_array().unwrap() {
        let text = case[0].as_str().unwrap();
        let size = parse_size(text);
        assert_eq!(size.as_ref().ok().copied(), case[1].as_u64(), "{text:?}");
        if let Err(error) = size {
            assert!(error.to_string().contains(&format!("{text:?} is not a size")), "{error}");
        }
    }
}

#[test]
fn maps_are_those_that_accelerate_infers() {
    let mut cases = 0;
    for model in goldens()["models"].as_array().unwrap() {
        let tree = tree(model);
        for case in model["cases"].as_array().unwrap() {
            let max_memory = MaxMemory { gpu: case["gpu"].as_u64(), cpu: case["cpu"].as_u64() };
            let map = infer_device_map(&tree, &max_memory);
            let found: serde_json::Map<_, _> =
                map.iter().map(|(module, device)| (module.to_owned(), device.name().into())).collect();
            assert_eq!(Value::Object(found), case["map"], "{}: {max_memory:?}", model["name"]);
            cases += 1;
        }
    }
    assert!(cases >= 60, "{cases}");
}

#[test]
fn whatever_the_budgets_nothing_is_over_them_or_left_out() {
    let goldens = goldens();
    let models = goldens["models"].as_array().unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..500 {
        let model = &models[random.usize(0..models.len())];
        let tree = tree(model);
        let rows = model["tensors"].as_array().unwrap();
        let total: u64 = rows.iter().map(|row| row[1].as_u64().unwrap()).sum();
        let mut budget = || random.bool().then(|| random.u64(0..total * 5 / 4));
        let max_memory = MaxMemory { gpu: budget(), cpu: budget() };
        let map = infer_device_map(&tree, &max_memory);
        map.check(&tree).unwrap();
        for (device, most) in [(Device::Gpu, max_memory.gpu), (Device::Cpu, max_memory.cpu)] {
            let there = rows.iter().filter(|row| map.device_of(row[0].as_str().unwrap()) == Some(device));
            let bytes: u64 = there.map(|row| row[1].as_u64().unwrap()).sum();
            assert!(bytes <= most.unwrap_or(0), "{device:?}: {bytes} of {max_memory:?}");
        }
    }
}

#[test]
fn a_map_of_ones_own_is_checked() {
    let goldens = goldens();
    let tree = tree(&goldens["models"][0]);
    let map = |keys: &[(&str, Device)]| {
        let mut map = DeviceMap::default();
        keys.iter().for_each(|(module, device)| map.insert(module, *device));
        map
    };
    map(&[("", Device::Gpu), ("model.layers.1", Device::Cpu)]).check(&tree).unwrap();
    let incomplete = map(&[("model.embed_tokens", Device::Gpu), ("lm_head", Device::Gpu), ("model.norm", Device::Gpu)]);
    let error = incomplete.check(&tree).unwrap_err();
    assert!(error.to_string().contains("no device for model.layers.0.self_attn.q_proj.weight"), "{error}");
    let error = map(&[("", Device::Gpu), ("model.layer.1", Device::Cpu)]).check(&tree).unwrap_err();
    assert!(error.to_string().contains("names model.layer.1, which the model doesn't have"), "{error}");
    let error = map(&[("", Device::Gpu), ("lm_head", Device::Cpu)]).check(&tree).unwrap_err();
    assert!(matches!(error, PlacementError::TiedApart { .. }), "{error}");
    // A key covers whole names only.
    assert_eq!(map(&[("model.layers.1", Device::Cpu)]).device_of("model.layers.10.mlp"), None);
    assert_eq!(map(&[("", Device::Gpu), ("model", Device::Cpu)]).device_of("model.norm.weight"), Some(Device::Cpu));
}
