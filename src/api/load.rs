//! The options of `Model.from_pretrained` in the engine's words.

use std::rc::Rc;

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

use super::crew::hire;
use super::error::{thrown, with_code};
use super::options::Options;
use super::progress::Reporter;
use super::source::{self, Opened};
use crate::checkpoint::{Catalog, CatalogOptions, CheckpointFile, TensorInfo};
use crate::config::{GenerationConfig, ModelConfig};
use crate::engine::{Engine, LoadOptions, Placement, WeightDtype, WeightsSource};
use crate::hub::cache::CacheStats;
use crate::hub::{Abort, FilesRepo, Repo, Traffic};
use crate::models::{Architecture, Task};
use crate::placement::{Device, DeviceMap, MaxMemory, parse_size};
use crate::tensor::gpu::device::GpuOptions;
use crate::tensor::{Dtype, Integers};
use crate::weights::round::Rounding;

/// What messages call a model that has no repo.
const NO_REPO: &str = "(no repo)";

/// What is known when a model is loaded.
pub struct Loaded {
    pub engine: Engine,
    pub config: String,
    pub generation_config: Option<String>,
    pub traffic: Rc<Traffic>,
    pub cache: Rc<CacheStats>,
}

/// Loads a model from `source`; null: from the option `state_dict`, or with new weights.
pub async fn load(source: &JsValue, options: &Options<'_>) -> Result<Loaded, JsValue> {
    let abort = options.abort()?;
    let mut load = load_options(options, &abort)?;
    if let Some(callback) = options.function("progress_callback")? {
        load.progress = Some(Reporter::new(source.as_string().unwrap_or_default(), callback).into_progress());
    }
    let (opened, weights) = match options.get("state_dict")? {
        None if source.is_null_or_undefined() => {
            (Opened::local(FilesRepo::in_memory(NO_REPO, Vec::new())), WeightsSource::New)
        }
        None => (source::open(source, options, &abort).await?, WeightsSource::Checkpoint(checkpoint(options)?)),
        Some(tensors) => {
            let (repo, catalog) = state_dict(options, &tensors)?;
            (Opened::local(repo), WeightsSource::StateDict(catalog))
        }
    };
    load.weights = weights;
    let Opened { repo, traffic, cache } = opened;
    let config = config(&*repo, options, &load, &abort).await?;
    let known = Architecture::of(&config, &load.registered).map_err(thrown)?.as_known(&config);
    let generation = GenerationConfig::open(&*repo, &known).await.map_err(thrown)?;
    let generation_config = generation.text.clone();
    let engine = Engine::load(repo, &config, generation, load).await.map_err(thrown)?;
    Ok(Loaded { engine, config: config.text().to_owned(), generation_config, traffic, cache })
}

fn load_options(options: &Options<'_>, abort: &Abort) -> Result<LoadOptions, JsValue> {
    Ok(LoadOptions {
        task: match options.text("task")? {
            None => Task::CausalLm,
            Some(name) => {
                Task::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, task)| task).ok_or_else(|| {
                    let known: Vec<&str> = Task::ALL.into_iter().map(|(known, _)| known).collect();
                    options.wrong("task", &format!("one of {}", known.join(", ")))
                })?
            }
        },
        registered: match options.text("architectures")? {
            None => Vec::new(),
            Some(json) => {
                let wrong = |error| options.wrong("architectures", &format!("descriptions of architectures ({error})"));
                serde_json::from_str(&json).map_err(wrong)?
            }
        },
        weights: WeightsSource::New,
        ignore_mismatched_sizes: options.flag("ignore_mismatched_sizes")?.unwrap_or(false),
        seed: options.integer("seed")?.unwrap_or_default(),
        dtype: match options.text("dtype")?.as_deref() {
            None => WeightDtype::Half,
            Some("auto") => WeightDtype::Auto,
            Some("float16") => WeightDtype::Float16,
            Some("bfloat16") => WeightDtype::Bfloat16,
            Some("float32") => WeightDtype::Float32,
            Some(_) => return Err(options.wrong("dtype", "\"auto\", \"float16\", \"bfloat16\" or \"float32\"")),
        },
        rounding: rounding(options)?,
        prefetch: options.flag("prefetch")?.unwrap_or(true),
        placement: placement(options)?,
        gpu: GpuOptions {
            device: options.get("device")?.map(|device| device.unchecked_into()),
            without_software: !options.flag("allow_software_gpu")?.unwrap_or(false),
            ..GpuOptions::default()
        },
        spawn: Rc::new(wasm_bindgen_futures::spawn_local),
        hire: options.function("hire")?.map(hire),
        progress: None,
        abort: abort.clone(),
    })
}

/// Which integers weights are rounded to, and which modules aren't.
fn rounding(options: &Options<'_>) -> Result<Option<Rounding>, JsValue> {
    let integers = match options.text("round_to")?.as_deref() {
        None => return Ok(None),
        Some("int8") => Integers::Int8,
        Some("int4") => Integers::Int4,
        Some(_) => return Err(options.wrong("round_to", "\"int8\" or \"int4\"")),
    };
    let wrong = |_| options.wrong("modules_to_not_convert", "a list of modules' names");
    let named = options.text("modules_to_not_convert")?.map(|json| serde_json::from_str(&json).map_err(wrong));
    Ok(Some(Rounding { integers, modules_to_not_convert: named.transpose()?.unwrap_or_default() }))
}

/// `device_map` and `max_memory`, as JSON texts.
fn placement(options: &Options<'_>) -> Result<Placement, JsValue> {
    let device = |value: &serde_json::Value| match value {
        serde_json::Value::Number(n) if n.as_u64() == Some(0) => Some(Device::Gpu),
        serde_json::Value::String(name) => match name.as_str() {
            "cpu" => Some(Device::Cpu),
            "disk" => Some(Device::Disk),
            _ => None,
        },
        _ => None,
    };
    let object = |name: &str, expected: &str| -> Result<Option<serde_json::Map<_, _>>, JsValue> {
        let text = options.text(name)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| options.wrong(name, expected))).transpose()
    };
    let mut device_map = None;
    if let Some(modules) = object("device_map", "an object of modules and devices")? {
        let mut map = DeviceMap::default();
        for (module, value) in &modules {
            let device =
                device(value).ok_or_else(|| options.wrong("device_map", "of devices 0, \"cpu\" and \"disk\""))?;
            map.insert(module, device);
        }
        device_map = Some(map);
    }
    let mut max_memory = None;
    if let Some(sizes) = object("max_memory", "an object of devices and sizes")? {
        let mut most = MaxMemory::default();
        for (device, size) in &sizes {
            let bytes = match size {
                serde_json::Value::String(text) => parse_size(text).map_err(thrown)?,
                size => size.as_u64().ok_or_else(|| options.wrong("max_memory", "of bytes, or texts as \"2GB\""))?,
            };
            match device.as_str() {
                "0" => most.gpu = Some(bytes),
                "cpu" => most.cpu = Some(bytes),
                _ => return Err(options.wrong("max_memory", "of the devices 0 and \"cpu\"")),
            }
        }
        max_memory = Some(most);
    }
    let execution_device = match options.text("execution_device")?.as_deref() {
        None => None,
        Some("0") => Some(Device::Gpu),
        Some("cpu") => Some(Device::Cpu),
        Some(_) => return Err(options.wrong("execution_device", "0 or \"cpu\"")),
    };
    let requires_gpu = options.flag("requires_gpu")?.unwrap_or(false);
    Ok(Placement { device_map, max_memory, execution_device, requires_gpu })
}

pub(super) fn checkpoint(options: &Options<'_>) -> Result<CatalogOptions, JsValue> {
    Ok(CatalogOptions {
        variant: options.text("variant")?,
        use_safetensors: options.flag("use_safetensors")?,
        from_flax: options.flag("from_flax")?.unwrap_or(false),
    })
}

/// The config: given as such, from another repo, or from the model's own, with some of its keys replaced.
async fn config(
    repo: &dyn Repo,
    options: &Options<'_>,
    load: &LoadOptions,
    abort: &Abort,
) -> Result<ModelConfig, JsValue> {
    let config = match (options.text("config_json")?, options.get("config_source")?) {
        (Some(json), _) => ModelConfig::from_json("config", json.as_bytes()).map_err(thrown)?,
        (None, Some(other)) => {
            ModelConfig::open(&*source::open(&other, options, abort).await?.repo).await.map_err(thrown)?
        }
        (None, None) => ModelConfig::open(repo).await.map_err(thrown)?,
    };
    let overrides = options.text("config_overrides")?.unwrap_or_else(|| "{}".to_owned());
    let overrides = serde_json::from_str(&overrides).map_err(|_| options.wrong("config_overrides", "a JSON object"))?;
    let architecture = Architecture::of(&config, &load.registered).map_err(thrown)?;
    architecture.with_overrides(&config, overrides).map_err(thrown)
}

/// The tensors as files, a file each.
fn state_dict(options: &Options<'_>, tensors: &JsValue) -> Result<(FilesRepo, Catalog), JsValue> {
    let wrong = || options.wrong("state_dict", "an array of { name, dtype, shape, data }");
    let mut catalog = Catalog::default();
    let mut files = Vec::new();
    for tensor in tensors.dyn_ref::<Array>().ok_or_else(wrong)?.iter() {
        let get = |key: &str| Reflect::get(&tensor, &key.into()).unwrap_or_default();
        let name = get("name").as_string().ok_or_else(wrong)?;
        let dtype = get("dtype").as_string().and_then(|name| Dtype::from_name(&name)).ok_or_else(wrong)?;
        let shape = get("shape").dyn_into::<Array>().map_err(|_| wrong())?;
        let shape: Option<Vec<usize>> = shape.iter().map(|dim| dim.as_f64().map(|dim| dim as usize)).collect();
        let shape = shape.ok_or_else(wrong)?;
        let data: Uint8Array = get("data").dyn_into().map_err(|_| wrong())?;
        let size = u64::from(data.length());
        let info = TensorInfo::row_major(dtype, shape, files.len(), 0).filter(|info| info.bytes() == size);
        let wrong_size = || with_code("TENSOR", &format!("state_dict: {name} of {dtype} can't have {size} bytes"));
        let info = info.ok_or_else(wrong_size)?;
        let path = format!("state_dict/{}", files.len());
        catalog.files.push(CheckpointFile { path: path.clone(), size: Some(size) });
        catalog.tensors.insert(name, info);
        files.push((path, data));
    }
    Ok((FilesRepo::in_memory(NO_REPO, files), catalog))
}
