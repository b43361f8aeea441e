//! Architectures that a caller describes as a known one with differences, so that a model of a known shape needs no change
//! here: what transformers has `AutoModel.register` for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::thread::LocalKey;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::transformer::Transformer;
use super::{Description, Family, Model, Names, Task};
use crate::Result;
use crate::config::{ConfigError, Fields, ModelConfig};

/// A caller's architecture.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registered {
    /// The `model_type` that configs have.
    pub model_type: String,
    /// That of the family from which it differs.
    pub like: String,
    /// What the family's keys are called in its configs.
    pub config_keys: BTreeMap<String, String>,
    /// The [`Description`]'s fields that differ, by name. A number may be the name of the config's key that has it.
    pub description: Map<String, Value>,
    /// The [`Names`] that differ; null: there is no such module.
    pub names: Map<String, Value>,
}

/// Who knows how to build what a config describes.
#[derive(Debug)]
pub struct Architecture<'a> {
    family: &'static Family,
    registered: Option<&'a Registered>,
}

impl<'a> Architecture<'a> {
    /// The architecture of a config: a registered one before those that come with the crate.
    ///
    /// # Errors
    /// `UNSUPPORTED_MODEL_TYPE`, naming those that there are; `CONFIG_INVALID`
    pub fn of(config: &ModelConfig, registered: &'a [Registered]) -> Result<Architecture<'a>, ConfigError> {
        let model_type = config.model_type()?;
        let Some(found) = registered.iter().find(|one| one.model_type == model_type) else {
            return Ok(Architecture { family: Family::of(config)?, registered: None });
        };
        let family = Family::of(&config.of_type(&found.like, &found.config_keys))?;
        Ok(Architecture { family, registered: Some(found) })
    }

    /// The model that a config describes; `ties`: its head is the embedding, where the config says so.
    ///
    /// # Errors
    /// What is wrong with the config or with the registered description; `UNSUPPORTED_MODEL_TYPE` where there is no head for
    /// the task.
    pub fn build(&self, config: &ModelConfig, task: Task, ties: bool) -> Result<Box<dyn Model>> {
        let Some(registered) = self.registered else { return self.family.build(config, task, ties) };
        self.family.class_name(config, task)?;
        let config = config.of_type(&registered.like, &registered.config_keys);
        let description = registered.change((self.family.describe)(&config)?, &config)?;
        let head = (self.family.head)(&config, &description.config, task)?;
        let mut head = if ties { head } else { head.untied() };
        let name = registered.name();
        if let (Some(logits), Some(module)) = (&mut head.logits, Fields::new(&name, &registered.names).text("head")?) {
            logits.module = interned(module);
        }
        Ok(Box::new(Transformer::new(description, head, &config, task)?))
    }

    /// The config as one of a known architecture.
    pub fn as_known(&self, config: &ModelConfig) -> ModelConfig {
        match self.registered {
            None => config.clone(),
            Some(registered) => config.of_type(&registered.like, &registered.config_keys),
        }
    }

    /// The config with some keys' values replaced, which may be called as the known architecture calls them.
    ///
    /// # Errors
    /// `UNSUPPORTED_OPTION` for a key that means nothing to it.
    pub fn with_overrides(
        &self,
        config: &ModelConfig,
        overrides: Map<String, Value>,
    ) -> Result<ModelConfig, ConfigError> {
        let own = |key: String| self.registered.and_then(|one| one.config_keys.get(&key)).cloned().unwrap_or(key);
        let overrides = overrides.into_iter().map(|(key, value)| (own(key), value)).collect();
        config.with_overrides(overrides, &self.config_keys())
    }

    /// The config's keys that mean something to it.
    fn config_keys(&self) -> Vec<&'static str> {
        let renamed = self.registered.iter().flat_map(|registered| registered.config_keys.values());
        self.family.config_keys().into_iter().chain(renamed.map(|key| interned(key))).collect()
    }

    /// What transformers calls the class of a model for this task; of a registered architecture that of the family.
    ///
    /// # Errors
    /// `UNSUPPORTED_MODEL_TYPE` where there is none.
    pub fn class_name(&self, config: &ModelConfig, task: Task) -> Result<&'static str, ConfigError> {
        self.family.class_name(config, task)
    }
}

impl Registered {
    /// What messages call it.
    fn name(&self) -> String {
        format!("the architecture {:?}", self.model_type)
    }

    /// The family's description with the differences.
    fn change(&self, mut description: Description, config: &ModelConfig) -> Result<Description, ConfigError> {
        let name = self.name();
        if description.encoder.is_some() || description.patches.is_some() {
            let like = Map::from_iter([("like".to_owned(), self.like.clone().into())]);
            return Err(Fields::new(&name, &like).unsupported("like", "decoders, and encoders of texts"));
        }
        let fields = Fields::new(&name, &self.description);
        let mut known = BTreeSet::new();
        for (key, to) in [
            ("qkv_bias", &mut description.qkv_bias),
            ("output_bias", &mut description.output_bias),
            ("mlp_bias", &mut description.mlp_bias),
            ("gated", &mut description.gated),
            ("parallel", &mut description.parallel),
            ("layer_norms", &mut description.layer_norms),
            ("norm_bias", &mut description.norm_bias),
            ("norms_from_one", &mut description.norms_from_one),
            ("transposed", &mut description.transposed),
            ("qkv_by_head", &mut description.qkv_by_head),
            ("qk_norm_over_all", &mut description.qk_norm_over_all),
        ] {
            known.insert(key);
            *to = fields.flag(key)?.unwrap_or(*to);
        }
        for (key, to) in [
            ("scale", &mut description.scale),
            ("embedding_scale", &mut description.embedding_scale),
            ("logit_scale", &mut description.logit_scale),
        ] {
            known.insert(key);
            *to = number(&fields, key, config)?.unwrap_or(*to);
        }
        for (key, to) in [
            ("attn_logit_softcapping", &mut description.attn_logit_softcapping),
            ("final_logit_softcapping", &mut description.final_logit_softcapping),
        ] {
            known.insert(key);
            *to = if fields.has(key) { number(&fields, key, config)? } else { *to };
        }
        all_known(&fields, &self.description, &known)?;
        let heads = &description.config;
        if description.qkv_by_head
            && (heads.num_key_value_heads != heads.num_attention_heads
                || self.names.get("qkv").is_some_and(Value::is_array))
        {
            return Err(fields.unsupported("qkv_by_head", "one module with as many keys and values as queries"));
        }
        description.names = self.change_names(description.names, description.gated)?;
        if description.parallel && description.names.attended_norm.is_some() {
            return Err(fields.unsupported("parallel", "layers without attended_norm"));
        }
        if description.names.positions.is_some() {
            description.config.rows_fit(&config.fields(), "max_position_embeddings", description.position_rows())?;
        }
        Ok(description)
    }

    fn change_names(&self, mut names: Names, gated: bool) -> Result<Names, ConfigError> {
        let name = self.name();
        let fields = Fields::new(&name, &self.names);
        let mut known = BTreeSet::from(["head", "qkv", "qk_norm", "gate_up"]);
        for (key, to) in [
            ("base", &mut names.base),
            ("embedding", &mut names.embedding),
            ("layers", &mut names.layers),
            ("output", &mut names.output),
            ("down", &mut names.down),
        ] {
            known.insert(key);
            *to = fields.text(key)?.map_or(*to, interned);
        }
        for (key, to) in [
            ("positions", &mut names.positions),
            ("embedding_norm", &mut names.embedding_norm),
            ("last_norm", &mut names.last_norm),
            ("input_norm", &mut names.input_norm),
            ("output_norm", &mut names.output_norm),
            ("mlp_norm", &mut names.mlp_norm),
            ("down_norm", &mut names.down_norm),
            ("attended_norm", &mut names.attended_norm),
            ("fed_norm", &mut names.fed_norm),
        ] {
            known.insert(key);
            *to = if fields.has(key) { fields.text(key)?.map(interned) } else { *to };
        }
        all_known(&fields, &self.names, &known)?;
        names.qkv = modules(&fields, "qkv", 3)?.unwrap_or(names.qkv);
        names.gate_up = modules(&fields, "gate_up", if gated { 2 } else { 1 })?.unwrap_or(names.gate_up);
        if names.gate_up.len() > 1 && !gated {
            return Err(fields.invalid("gate_up", "the module's name, since there is no gate"));
        }
        if fields.has("qk_norm") {
            let pair = fields.texts("qk_norm", 2)?;
            names.qk_norm = pair.and_then(|pair| Some([interned(pair.first()?), interned(pair.last()?)]));
        }
        Ok(names)
    }
}

/// A number, or the value of the config's key that is named.
fn number(fields: &Fields<'_>, key: &str, config: &ModelConfig) -> Result<Option<f32>, ConfigError> {
    let value = match fields.get(key).and_then(Value::as_str) {
        Some(own) => config.fields().number(own)?,
        None => fields.number(key)?,
    };
    Ok(value.map(|value| value as f32))
}

/// One module with all of them, or one for each.
fn modules(fields: &Fields<'_>, key: &str, each: usize) -> Result<Option<&'static [&'static str]>, ConfigError> {
    let one = fields.get(key).is_some_and(Value::is_string);
    let list = if one { fields.text(key)?.map(|one| vec![one]) } else { fields.texts(key, each)? };
    Ok(list.map(|list| {
        let list: Vec<&str> = list.into_iter().map(interned).collect();
        kept(&LISTS, list.as_slice(), || list.to_vec().leak())
    }))
}

fn all_known(fields: &Fields<'_>, object: &Map<String, Value>, known: &BTreeSet<&str>) -> Result<(), ConfigError> {
    let known_names = || known.iter().copied().collect::<Vec<_>>().join(", ");
    match object.keys().find(|key| !known.contains(key.as_str())) {
        Some(key) => Err(fields.unsupported(key, format!("the keys {}", known_names()))),
        None => Ok(()),
    }
}

/// What is kept for as long as the program runs, each once.
type Kept<T> = LocalKey<RefCell<BTreeSet<&'static T>>>;

thread_local! {
    static TEXTS: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
    static LISTS: RefCell<BTreeSet<&'static [&'static str]>> = const { RefCell::new(BTreeSet::new()) };
}

/// The text for as long as the program runs.
fn interned(text: &str) -> &'static str {
    kept(&TEXTS, text, || Box::leak(text.into()))
}

/// What is kept and equals `wanted`; where there is none, what `leak` makes.
fn kept<T: ?Sized + Ord>(all: &'static Kept<T>, wanted: &T, leak: impl FnOnce() -> &'static mut T) -> &'static T {
    all.with_borrow_mut(|all| match all.get(wanted) {
        Some(known) => *known,
        None => {
            let new: &'static T = leak();
            all.insert(new);
            new
        }
    })
}
