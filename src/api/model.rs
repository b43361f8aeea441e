//! `Model` for JavaScript.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use js_sys::{Array, Float32Array, Object, Reflect, Uint32Array};
use wasm_bindgen::prelude::*;

use super::array::array;
use super::error::{thrown, with_code};
use super::load::{Loaded, load};
use super::options::Options;
use super::source;
use crate::checkpoint::Catalog;
use crate::config::ModelConfig;
use crate::engine::{Array as EngineArray, Engine, Inputs, ModelOutput, More, Source};
use crate::generation::{GenerateOptions, GenerationError, Prompt, check_past, check_types};
use crate::hub::Traffic;
use crate::hub::cache::CacheStats;
use crate::models::{Task, windows};
use crate::placement::Device;
use crate::tensor::cpu;
use crate::weights::store::State;

#[wasm_bindgen]
extern "C" {
    /// How to load.
    #[wasm_bindgen(typescript_type = "object | undefined")]
    pub type JsLoadOptions;
    /// How to generate.
    #[wasm_bindgen(typescript_type = "object | undefined")]
    pub type JsGenerateOptions;
    /// How to run forward.
    #[wasm_bindgen(typescript_type = "object | undefined")]
    pub type JsForwardOptions;
}

/// A repo's `config.json`, as text.
///
/// Throws with the hub's codes and `CONFIG_INVALID`.
#[wasm_bindgen]
pub async fn load_config(source: JsValue, options: JsLoadOptions) -> Result<String, JsValue> {
    let options = Options::new("AutoConfig.from_pretrained", &options);
    let opened = source::open(&source, &options, &options.abort()?).await?;
    Ok(ModelConfig::open(&*opened.repo).await.map_err(thrown)?.text().to_owned())
}

/// A model whose weights stream in.
#[wasm_bindgen]
pub struct Model {
    // Taken by `dispose`, so that the device's memory is free at once and not when JavaScript collects us.
    engine: RefCell<Option<Rc<Engine>>>,
    config: String,
    generation_config: Option<String>,
    traffic: Rc<Traffic>,
    cache: Rc<CacheStats>,
}

#[wasm_bindgen]
impl Model {
    /// Reads config and headers, plans, and starts to bring the weights in. Resolves before they are there.
    ///
    /// `source` is what the package's `ModelSource` is, or null where the options have a config. Throws with the codes
    /// of `LayerlineError`.
    pub async fn from_pretrained(source: JsValue, options: JsLoadOptions) -> Result<Model, JsValue> {
        let Loaded { engine, config, generation_config, traffic, cache } =
            load(&source, &Options::new("from_pretrained", &options)).await?;
        Ok(Model { engine: RefCell::new(Some(Rc::new(engine))), config, generation_config, traffic, cache })
    }

    /// Takes the weights of a sharded checkpoint, by exactly the model's names.
    ///
    /// Gives `{ missing_keys, unexpected_keys }`. Throws with the codes of `LayerlineError`; the model then keeps its own.
    pub async fn load_sharded_checkpoint(&self, source: JsValue, options: JsLoadOptions) -> Result<Object, JsValue> {
        let engine = self.engine()?;
        let options = Options::new("load_sharded_checkpoint", &options);
        let (strict, prefer_safe) = (options.flag("strict")?, options.flag("prefer_safe")?);
        let repo = source::open(&source, &options, &options.abort()?).await?.repo;
        let catalog = Catalog::open_index(&*repo, prefer_safe.unwrap_or(true)).await.map_err(thrown)?;
        let left = engine.load_weights(repo, catalog, strict.unwrap_or(true)).await.map_err(thrown)?;
        object(&[("missing_keys", names(&left.missing_keys)), ("unexpected_keys", names(&left.unexpected_keys))])
    }

    /// What transformers calls the model's class.
    pub fn class_name(&self) -> Result<String, JsValue> {
        Ok(self.engine()?.class().to_owned())
    }

    /// What loading came to: transformers' `loading_info`.
    pub fn loading_info(&self) -> Result<Object, JsValue> {
        let engine = self.engine()?;
        let info = engine.loading_info();
        let sizes =
            |shape: &[usize]| JsValue::from(shape.iter().map(|dim| JsValue::from(*dim as f64)).collect::<Array>());
        let mismatched: Array = info
            .mismatched_keys
            .iter()
            .map(|(name, found, own)| Array::of3(&name.as_str().into(), &sizes(found), &sizes(own)))
            .collect();
        object(&[
            ("missing_keys", names(&info.missing_keys)),
            ("unexpected_keys", names(&info.unexpected_keys)),
            ("mismatched_keys", mismatched.into()),
            ("error_msgs", Array::new().into()),
        ])
    }

    fn engine(&self) -> Result<Rc<Engine>, JsValue> {
        self.engine.borrow().clone().ok_or_else(|| thrown(GenerationError::Disposed))
    }

    /// `config.json` as the repo has it.
    pub fn config(&self) -> String {
        self.config.clone()
    }

    /// `generation_config.json` as the repo has it.
    pub fn generation_config(&self) -> Option<String> {
        self.generation_config.clone()
    }

    /// Modules and their devices.
    pub fn hf_device_map(&self) -> Result<Object, JsValue> {
        let map = Object::new();
        for (module, device) in self.engine()?.device_map().iter() {
            Reflect::set(&map, &module.into(), &device_value(device))?;
        }
        Ok(map)
    }

    /// Why the model is on the CPU alone, where that was not asked for.
    pub fn without_gpu(&self) -> Result<Option<String>, JsValue> {
        Ok(self.engine()?.without_gpu().map(ToString::to_string))
    }

    /// Every block's place and progress, in forward order.
    pub fn layers(&self) -> Result<Array, JsValue> {
        let one = |block: crate::engine::BlockState| {
            let state = match block.state {
                State::Absent => "absent",
                State::Coming => "coming",
                State::Resident => "resident",
            };
            object(&[
                ("name", block.name.into()),
                ("device", device_value(block.device)),
                ("state", state.into()),
                ("bytes", (block.bytes as f64).into()),
                ("resident_bytes", (block.resident_bytes as f64).into()),
            ])
        };
        self.engine()?.blocks().into_iter().map(one).collect()
    }

    /// What the model costs and has done so far. Sizes are bytes.
    pub fn stats(&self) -> Result<Object, JsValue> {
        let engine = self.engine()?;
        let gpu = engine.gpu();
        let adapter = gpu.as_ref().map(|gpu| {
            let capabilities = gpu.capabilities();
            object(&[
                ("vendor", capabilities.vendor.as_str().into()),
                ("architecture", capabilities.architecture.as_str().into()),
                ("description", capabilities.description.as_str().into()),
                ("shader_f16", capabilities.shader_f16.into()),
                ("subgroups", capabilities.subgroups.into()),
            ])
        });
        let adapter = adapter.transpose()?.map_or(JsValue::NULL, Into::into);
        let kernels = engine.storage_name();
        let (gpu_bytes, peak_gpu_bytes, gpu_buffers) = gpu.map_or((0, 0, 0), |gpu| {
            let usages = gpu.usages();
            (usages.bytes(), usages.peak_bytes(), usages.buffers())
        });
        let timings = engine.timings();
        let resident: u64 = engine.blocks().iter().map(|block| block.resident_bytes).sum();
        let encoded = f64::from(timings.encoded.get()).max(1.0);
        object(&[
            ("adapter", adapter),
            ("without_gpu", engine.without_gpu().map_or(JsValue::NULL, |reason| reason.to_string().into())),
            ("kernels", kernels.into()),
            ("gpu_bytes", (gpu_bytes as f64).into()),
            ("peak_gpu_bytes", (peak_gpu_bytes as f64).into()),
            ("gpu_buffers", gpu_buffers.into()),
            ("kept_gpu_bytes", (engine.kept_bytes() as f64).into()),
            ("held_bytes", (engine.loader().held_bytes() as f64).into()),
            ("device_losses", engine.device_losses().into()),
            ("weight_bytes", (engine.weight_bytes() as f64).into()),
            ("resident_bytes", (resident as f64).into()),
            ("fetched_bytes", (self.traffic.bytes() as f64).into()),
            ("requests", (self.traffic.requests() as f64).into()),
            ("cache_read_bytes", (self.cache.read_bytes() as f64).into()),
            ("cache_written_bytes", (self.cache.written_bytes() as f64).into()),
            ("peak_staging_bytes", (engine.loader().peak_staging() as f64).into()),
            ("dispatches_per_token", timings.dispatches.get().into()),
            ("prefilled_tokens", timings.prefilled.get().into()),
            ("encode_us_per_token", (timings.encode_ms.get() * 1000.0 / encoded).into()),
            ("cpu_threads", engine.threads().into()),
            ("cpu_fused", cpu::is_fused().into()),
            ("wasm_memory_bytes", wasm_memory().into()),
        ])
    }

    /// Bytes of parameters and buffers, as they lie on their devices.
    pub fn get_memory_footprint(&self) -> Result<f64, JsValue> {
        Ok(self.engine()?.weight_bytes() as f64)
    }

    /// Waits until every weight is on its device.
    pub async fn ready(&self) -> Result<(), JsValue> {
        self.engine()?.ready().await.map_err(thrown)
    }

    /// How many tokens of a text it can read: it knows no more positions. Undefined where it knows any.
    pub fn max_positions(&self) -> Result<Option<usize>, JsValue> {
        let shape = self.engine()?.shape();
        Ok(shape.encoder.as_ref().map_or(shape.positions, |encoder| encoder.positions))
    }

    /// The inputs that a forward pass takes, by transformers' names.
    pub fn input_names(&self) -> Result<Array, JsValue> {
        let shape = self.engine()?.shape();
        if shape.image.is_some() {
            return Ok(Array::of1(&"pixel_values".into()));
        }
        let encoder = shape.encoder.as_ref();
        let reads = match encoder.is_some_and(|encoder| encoder.features > 0) {
            true => &["input_features"][..],
            false => &["input_ids", "attention_mask"],
        };
        let types = (shape.token_types > 1).then_some(&"token_type_ids");
        let names = reads.iter().chain(types).chain(encoder.map(|_| &"decoder_input_ids")).copied();
        Ok(names.map(JsValue::from).collect())
    }

    /// What the model gives for one text, or one image, as `{ name: { dims, data } }`; see [`ModelOutput`] for names and shapes, hidden
    /// states being `hidden_states.0` and so on.
    ///
    /// Options: `pixel_values`, an image as `{ dims, data }`, and the ids are none then; `token_type_ids`; of a model that reads
    /// with an encoder `decoder_input_ids`, and `input_features` where it reads sound, `[mels][frames]`; of the others `position_ids`,
    /// `inputs_embeds`, rows that are read in the place of the first ids' embeddings, and `past`, how many of the first tokens are but read;
    /// `output_hidden_states` and `output_attentions`; `all_logits`, without which a causal language model gives those of
    /// the last token alone, `[1, vocab_size]`; `signal`.
    pub async fn forward(&self, input_ids: &[u32], options: JsForwardOptions) -> Result<Object, JsValue> {
        let engine = self.engine()?;
        let options = Options::new("forward", &options);
        let all = options.flag("all_logits")?.unwrap_or(true);
        let more = More {
            hidden_states: options.flag("output_hidden_states")?.unwrap_or(false),
            attentions: options.flag("output_attentions")?.unwrap_or(false),
        };
        let types = ids(&options, "token_type_ids")?.unwrap_or_default();
        let position_ids = ids(&options, "position_ids")?.unwrap_or_default();
        let embeds = embeds(&options)?;
        let past = options.integer("past")?.unwrap_or(0) as usize;
        let features = features(&engine, &options)?;
        let decoder_ids = ids(&options, "decoder_input_ids")?.unwrap_or_default();
        let abort = options.abort()?;
        if let Some(image) = options.get("pixel_values")? {
            let (pixels, dims) = image_of(&image).ok_or_else(|| options.wrong("pixel_values", "{ dims, data }"))?;
            return outputs(engine.forward_image(&pixels, &dims, more, &abort).await.map_err(thrown)?);
        }
        let one = !all && more == More::default() && engine.task() == Task::CausalLm;
        let prompt = Prompt { ids: input_ids, embeds: &embeds, position_ids: &position_ids };
        check_embeds(&engine, prompt)?;
        let output = match one {
            true => {
                check_types(&types, input_ids.len(), engine.shape().token_types).map_err(thrown)?;
                check_past(past, input_ids.len(), true).map_err(thrown)?;
                let data = engine.next_logits(prompt, &abort).await.map_err(thrown)?;
                ModelOutput { logits: Some(EngineArray { dims: vec![1, data.len()], data }), ..Default::default() }
            }
            false => {
                let Prompt { ids, embeds, position_ids } = prompt;
                let (types, features, decoder_ids) = (&*types, &*features, &*decoder_ids);
                let inputs = Inputs { ids, types, embeds, position_ids, past, features, decoder_ids, more };
                engine.forward(inputs, &abort).await.map_err(thrown)?
            }
        };
        outputs(output)
    }

    /// Prompt and new ids. A model that reads with an encoder reads `input_ids`, or the option `input_features`, and its prompt
    /// is the option `decoder_input_ids`; a decoder's has `position_ids` and `inputs_embeds` as [`forward`](Self::forward) has them.
    pub async fn generate(&self, input_ids: &[u32], options: JsGenerateOptions) -> Result<Uint32Array, JsValue> {
        let engine = self.engine()?;
        let call = Options::new("generate", &options);
        let (abort, on_token) = (call.abort()?, call.function("on_token")?);
        let read = Read::of(&engine, &call)?;
        let (source, text) = read.with(&engine, input_ids)?;
        let options = generate_options(&options)?;
        let mut thrown_by_callback = None;
        let mut tell = |id: u32| match &on_token {
            None => true,
            Some(callback) => match callback.call1(&JsValue::UNDEFINED, &id.into()) {
                Ok(answer) => answer.as_bool() != Some(false),
                Err(error) => {
                    thrown_by_callback = Some(error);
                    false
                }
            },
        };
        let new = engine.generate_from(source, text, &options, &mut tell, &abort).await.map_err(thrown)?;
        if let Some(error) = thrown_by_callback {
            return Err(error);
        }
        Ok(Uint32Array::from([text.ids, &new].concat().as_slice()))
    }

    /// The new ids of the best texts that a beam search finds, best first, as [`generate`](Self::generate) reads what it is given.
    pub async fn beam_search(&self, input_ids: &[u32], options: JsGenerateOptions) -> Result<Array, JsValue> {
        let engine = self.engine()?;
        let call = Options::new("generate", &options);
        let abort = call.abort()?;
        let read = Read::of(&engine, &call)?;
        let (source, text) = read.with(&engine, input_ids)?;
        let options = generate_options(&options)?;
        let found = engine.beam_search(source, text, &options, &abort).await.map_err(thrown)?;
        Ok(found.iter().map(|(new, _)| Uint32Array::from(new.as_slice())).collect())
    }

    /// Stops loading and gives the device's memory back. Later calls throw `DISPOSED`.
    pub fn dispose(&self) {
        if let Some(engine) = self.engine.take() {
            engine.dispose();
        }
    }
}

/// What `generate` reads beside ids.
struct Read {
    features: Vec<f32>,
    decoder_ids: Vec<u32>,
    embeds: Vec<f32>,
    position_ids: Vec<u32>,
}

impl Read {
    fn of(engine: &Engine, call: &Options<'_>) -> Result<Read, JsValue> {
        Ok(Read {
            features: features(engine, call)?,
            decoder_ids: ids(call, "decoder_input_ids")?.unwrap_or_default(),
            embeds: embeds(call)?,
            position_ids: ids(call, "position_ids")?.unwrap_or_default(),
        })
    }

    /// What an encoder reads, and the text's own beginning.
    fn with<'a>(&'a self, engine: &Engine, input_ids: &'a [u32]) -> Result<(Source<'a>, Prompt<'a>), JsValue> {
        let (source, ids) = match engine.shape().encoder {
            Some(_) => (Source { ids: input_ids, features: &self.features }, self.decoder_ids.as_slice()),
            None => (Source::default(), input_ids),
        };
        let text = Prompt { ids, embeds: &self.embeds, position_ids: &self.position_ids };
        check_embeds(engine, text)?;
        Ok((source, text))
    }
}

/// An option that is a list of ids.
fn ids(options: &Options<'_>, name: &str) -> Result<Option<Vec<u32>>, JsValue> {
    let wrong = |_| options.wrong(name, "a Uint32Array");
    options.get(name)?.map(|ids| Ok(ids.dyn_into::<Uint32Array>().map_err(wrong)?.to_vec())).transpose()
}

/// The option `inputs_embeds`: rows, one behind the other.
fn embeds(options: &Options<'_>) -> Result<Vec<f32>, JsValue> {
    let wrong = |_| options.wrong("inputs_embeds", "a Float32Array");
    let rows = options.get("inputs_embeds")?.map(|rows| rows.dyn_into::<Float32Array>().map_err(wrong));
    Ok(rows.transpose()?.map_or_else(Vec::new, |rows| rows.to_vec()))
}

/// Fails where some of the tokens of which rows are given have none.
fn check_embeds(engine: &Engine, prompt: Prompt<'_>) -> Result<(), JsValue> {
    let (numbers, tokens, width) = (prompt.embeds.len(), prompt.ids.len(), engine.shape().embeds);
    if numbers == 0 || numbers == tokens * width {
        return Ok(());
    }
    Err(thrown(GenerationError::Embeds { numbers, tokens, width }))
}

/// The option `input_features`, as the model's encoder reads it.
fn features(engine: &Engine, options: &Options<'_>) -> Result<Vec<f32>, JsValue> {
    let Some(spectrogram) = options.get("input_features")? else { return Ok(Vec::new()) };
    let expected = match engine.shape().encoder.map_or(0, |encoder| encoder.features / 3) {
        0 => return Err(options.wrong("input_features", "absent: this model reads ids")),
        channels => (channels, format!("a Float32Array of {channels} whole channels")),
    };
    let spectrogram = spectrogram.dyn_into::<Float32Array>().ok().map(|numbers| numbers.to_vec());
    let windows = spectrogram.and_then(|numbers| windows(&numbers, expected.0));
    windows.ok_or_else(|| options.wrong("input_features", &expected.1))
}

/// An image's numbers and its shape.
fn image_of(image: &JsValue) -> Option<(Vec<f32>, Vec<usize>)> {
    let get = |key: &str| Reflect::get(image, &key.into()).ok();
    let data = get("data")?.dyn_into::<Float32Array>().ok()?;
    let dims = get("dims")?.dyn_into::<Array>().ok()?;
    let dims: Option<Vec<usize>> = dims.iter().map(|dim| dim.as_f64().map(|dim| dim as usize)).collect();
    Some((data.to_vec(), dims?))
}

/// A forward pass's arrays by name.
fn outputs(output: ModelOutput) -> Result<Object, JsValue> {
    let ModelOutput { logits, text_embeds, image_embeds, pooler_output, hidden_states, attentions, .. } = output;
    let ModelOutput { last_hidden_state, encoder_last_hidden_state, encoder_hidden_states, .. } = output;
    let ModelOutput { encoder_attentions, cross_attentions, .. } = output;
    let (states, own) = match encoder_last_hidden_state.is_some() {
        true => ("decoder_hidden_states", "decoder_attentions"),
        false => ("hidden_states", "attentions"),
    };
    let named = [
        ("logits", logits),
        ("text_embeds", text_embeds),
        ("image_embeds", image_embeds),
        ("last_hidden_state", last_hidden_state),
        ("encoder_last_hidden_state", encoder_last_hidden_state),
        ("pooler_output", pooler_output),
    ];
    let named = named.into_iter().filter_map(|(name, array)| Some((name.to_owned(), array?)));
    let of_layers = |name: &'static str, arrays: Vec<EngineArray>| {
        arrays.into_iter().enumerate().map(move |(at, array)| (format!("{name}.{at}"), array))
    };
    let of_layers = of_layers(states, hidden_states)
        .chain(of_layers("encoder_hidden_states", encoder_hidden_states))
        .chain(of_layers(own, attentions))
        .chain(of_layers("encoder_attentions", encoder_attentions))
        .chain(of_layers("cross_attentions", cross_attentions));
    let all = Object::new();
    for (name, EngineArray { dims, data }) in named.chain(of_layers) {
        Reflect::set(&all, &name.into(), &array(&dims, &data)?.into())?;
    }
    Ok(all)
}

/// The options but for those that only JavaScript has.
fn generate_options(options: &JsValue) -> Result<GenerateOptions, JsValue> {
    if !options.is_object() {
        return Ok(GenerateOptions::default());
    }
    let plain = Object::assign(&Object::new(), options.unchecked_ref());
    for name in ["on_token", "signal", "input_features", "decoder_input_ids", "inputs_embeds", "position_ids"] {
        Reflect::delete_property(&plain, &name.into())?;
    }
    // `undefined` means the default.
    for entry in Object::entries(&plain) {
        let entry: Array = entry.unchecked_into();
        if entry.get(1).is_null_or_undefined() {
            Reflect::delete_property(&plain, &entry.get(0))?;
        }
    }
    let wrong = |message: String| with_code("UNSUPPORTED_OPTION", &format!("generate: {message}"));
    let text = js_sys::JSON::stringify(&plain)?.as_string().unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// A device by transformers' name: the GPU is 0.
fn device_value(device: Device) -> JsValue {
    if device == Device::Gpu { 0.into() } else { device.name().into() }
}

fn names(keys: &BTreeSet<String>) -> JsValue {
    keys.iter().map(|key| JsValue::from(key.as_str())).collect::<Array>().into()
}

fn object(entries: &[(&str, JsValue)]) -> Result<Object, JsValue> {
    let object = Object::new();
    for (name, value) in entries {
        Reflect::set(&object, &(*name).into(), value)?;
    }
    Ok(object)
}

/// Bytes of wasm memory, which never shrinks: a high-water mark.
fn wasm_memory() -> f64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    f64::from(memory.buffer().unchecked_into::<js_sys::ArrayBuffer>().byte_length())
}
