//! `quantization_config`: how a checkpoint's linear layers were made integers.
//! <https://huggingface.co/docs/transformers/quantization/compressed_tensors>
//! <https://huggingface.co/docs/transformers/quantization/gptq>
//! <https://huggingface.co/docs/transformers/quantization/awq>

use super::ConfigError;
use super::fields::Fields;
use super::model::ModelConfig;

/// The formats that there are: integers of four or eight bits packed into int32, each group of a row with a scale.
const SUPPORTED: &str = "weights of 4 or 8 bits and nothing else quantised, by compressed-tensors (pack-quantized), \
     gptq (gptq, gptq_v2) or awq (gemm)";

/// By whose names and in whose order a checkpoint has its integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// compressed-tensors': row by row.
    CompressedTensors,
    /// GPTQ's: column by column.
    Gptq {
        /// Whether zeros are stored less one.
        zeros_less_one: bool,
    },
    /// AWQ's: column by column, a word having those of eight rows.
    Awq,
}

/// How a checkpoint's linear layers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantization {
    /// Which tensors a layer is made of.
    pub method: Method,
    /// Bits of an integer: 4 or 8.
    pub bits: usize,
    /// Elements of a row that share a scale; `None`: all.
    pub group: Option<usize>,
    /// Whether an integer's middle means zero, rather than what each group says.
    pub symmetric: bool,
}

impl Quantization {
    /// What a config says, if it says anything.
    ///
    /// # Errors
    /// [`ConfigError::Unsupported`] for other methods and formats than [`Quantization`] can say.
    pub fn of(config: &ModelConfig) -> Result<Option<Quantization>, ConfigError> {
        let whole = config.fields();
        let Some(fields) = whole.object("quantization_config")? else { return Ok(None) };
        let is = |fields: &Fields<'_>, key, supported: &str| match fields.text(key)? {
            Some(text) if text != supported => Err(fields.unsupported(key, SUPPORTED)),
            text => Ok(text.is_some()),
        };
        match fields.text("quant_method")? {
            Some("gptq") => return Quantization::of_gptq(&fields).map(Some),
            Some("awq") => return Quantization::of_awq(&fields).map(Some),
            Some("compressed-tensors") => {}
            Some(_) => return Err(fields.unsupported("quant_method", SUPPORTED)),
            None => return Err(whole.unsupported("quantization_config", SUPPORTED)),
        }
        is(&fields, "format", "pack-quantized")?;
        is(&fields, "quantization_status", "compressed")?;
        nothing(&fields, &["kv_cache_scheme"])?;
        if let Some(sparsity) = fields.object("sparsity_config")? {
            is(&sparsity, "format", "dense")?;
        }
        if fields.object("transform_config")?.is_some_and(|transform| transform.values().count() > 0) {
            return Err(fields.unsupported("transform_config", "none"));
        }
        let groups = fields.require("config_groups", fields.object("config_groups")?)?;
        let mut one = None;
        for name in groups.keys() {
            let Some(group) = groups.object(name)? else { continue };
            is(&group, "format", "pack-quantized")?;
            nothing(&group, &["input_activations", "output_activations"])?;
            let weights = group.require("weights", group.object("weights")?)?;
            let scheme = Quantization::of_weights(&weights)?;
            if one.replace(scheme).is_some_and(|other| other != scheme) {
                return Err(fields.unsupported("config_groups", "one way for all layers"));
            }
        }
        fields.require("config_groups", one).map(Some)
    }

    fn of_gptq(fields: &Fields<'_>) -> Result<Quantization, ConfigError> {
        let bits = bits(fields, "bits")?;
        let zeros_less_one = match fields.text("checkpoint_format")?.or(fields.text("format")?) {
            None | Some("gptq") => true,
            Some("gptq_v2") => false,
            Some(_) => return Err(fields.unsupported("checkpoint_format", "gptq, gptq_v2")),
        };
        if !matches!(fields.text("pack_dtype")?, None | Some("int32")) {
            return Err(fields.unsupported("pack_dtype", "int32"));
        }
        // Layers that are quantised otherwise than the rest.
        if fields.object("dynamic")?.is_some_and(|dynamic| dynamic.keys().count() > 0) {
            return Err(fields.unsupported("dynamic", "one way for all layers"));
        }
        let group = size(fields)?;
        // By activation order, columns of a group aren't neighbours.
        if group.is_some() && fields.flag("desc_act")?.unwrap_or(false) {
            return Err(fields.unsupported("desc_act", "false"));
        }
        let symmetric = fields.flag("sym")?.unwrap_or(true);
        Ok(Quantization { method: Method::Gptq { zeros_less_one }, bits, group, symmetric })
    }

    fn of_awq(fields: &Fields<'_>) -> Result<Quantization, ConfigError> {
        if bits(fields, "bits")? != 4 {
            return Err(fields.unsupported("bits", "4"));
        }
        let form = fields.text("version")?.or(fields.text("format")?).unwrap_or("gemm");
        if !form.eq_ignore_ascii_case("gemm") {
            return Err(fields.unsupported("version", "gemm"));
        }
        if !fields.flag("zero_point")?.unwrap_or(true) {
            return Err(fields.unsupported("zero_point", "true"));
        }
        let group = size(fields)?;
        Ok(Quantization { method: Method::Awq, bits: 4, group, symmetric: false })
    }

    fn of_weights(weights: &Fields<'_>) -> Result<Quantization, ConfigError> {
        let bits = bits(weights, "num_bits")?;
        if !matches!(weights.text("type")?, None | Some("int")) {
            return Err(weights.unsupported("type", "int"));
        }
        // By "group" columns are in another order than the tensor says.
        if weights.text("actorder")? == Some("group") {
            return Err(weights.unsupported("actorder", "null, weight"));
        }
        let size = size(weights)?;
        let strategy = weights.text("strategy")?.unwrap_or(if size.is_some() { "group" } else { "channel" });
        let group = match strategy {
            "channel" => None,
            "group" => Some(weights.require("group_size", size)?),
            _ => return Err(weights.unsupported("strategy", "channel, group")),
        };
        let symmetric = weights.flag("symmetric")?.unwrap_or(true);
        Ok(Quantization { method: Method::CompressedTensors, bits, group, symmetric })
    }
}

fn bits(fields: &Fields<'_>, key: &str) -> Result<usize, ConfigError> {
    let bits = fields.require(key, fields.count(key)?)?;
    if matches!(bits, 4 | 8) { Ok(bits) } else { Err(fields.unsupported(key, "4, 8")) }
}

/// A group's size; -1 is none.
fn size(fields: &Fields<'_>) -> Result<Option<usize>, ConfigError> {
    let is_none = fields.get("group_size").and_then(serde_json::Value::as_i64) == Some(-1);
    if is_none { Ok(None) } else { fields.count("group_size") }
}

/// Fails where one of these keys says anything.
fn nothing(fields: &Fields<'_>, keys: &[&str]) -> Result<(), ConfigError> {
    let said = keys.iter().find(|key| fields.get(key).is_some());
    said.map_or(Ok(()), |key| Err(fields.unsupported(key, "null")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(config: Value) -> Result<Option<Quantization>, ConfigError> {
        let text = json!({"quantization_config": config}).to_string();
        Quantization::of(&ModelConfig::from_json("a/b: config.json", text.as_bytes()).unwrap())
    }

    fn with(weights: Value) -> Value {
        json!({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}})
    }

    #[test]
    fn groups_and_channels() {
        assert_eq!(of(Value::Null), Ok(None));
        for (weights, bits, group, symmetric) in [
            (json!({"num_bits": 4, "group_size": 128, "strategy": "group"}), 4, Some(128), true),
            (json!({"num_bits": 4, "group_size": 128, "symmetric": false}), 4, Some(128), false),
            (json!({"num_bits": 8, "strategy": "channel", "type": "int", "actorder": "weight"}), 8, None, true),
            (json!({"num_bits": 8, "group_size": -1}), 8, None, true),
        ] {
            let method = Method::CompressedTensors;
            assert_eq!(of(with(weights)), Ok(Some(Quantization { method, bits, group, symmetric })));
        }
    }

    #[test]
    fn gptq() {
        let with = |more: Value| {
            let mut config =
                json!({"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": true, "desc_act": false});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            of(config)
        };
        let expected = |zeros_less_one, bits, group, symmetric| {
            Ok(Some(Quantization { method: Method::Gptq { zeros_less_one }, bits, group, symmetric }))
        };
        assert_eq!(with(json!({})), expected(true, 4, Some(128), true));
        assert_eq!(with(json!({"sym": false, "bits": 8})), expected(true, 8, Some(128), false));
        assert_eq!(with(json!({"checkpoint_format": "gptq_v2"})), expected(false, 4, Some(128), true));
        // Where a row is one group, its order doesn't matter.
        assert_eq!(with(json!({"group_size": -1, "desc_act": true})), expected(true, 4, None, true));
        for (more, key) in [
            (json!({"bits": 3}), "bits"),
            (json!({"desc_act": true}), "desc_act"),
            (json!({"checkpoint_format": "marlin"}), "checkpoint_format"),
            (json!({"pack_dtype": "int64"}), "pack_dtype"),
            (json!({"dynamic": {"a": {"bits": 8}}}), "dynamic"),
        ] {
            let error = with(more).unwrap_err();
            assert_eq!(error.code(), "UNSUPPORTED_CONFIG", "{error}");
            assert!(error.to_string().contains(&format!("`quantization_config.{key}`")), "{error}");
        }
        assert_eq!(with(json!({"bits": "4"})).unwrap_err().code(), "CONFIG_INVALID");
        assert_eq!(with(json!({"group_size": 0})).unwrap_err().code(), "CONFIG_INVALID");
    }

    #[test]
    fn awq() {
        let with = |more: Value| {
            let mut config = json!({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            of(config)
        };
        let expected = |group| Ok(Some(Quantization { method: Method::Awq, bits: 4, group, symmetric: false }));
        assert_eq!(with(json!({"zero_point": true, "modules_to_not_convert": null})), expected(Some(128)));
        assert_eq!(with(json!({"version": "GEMM", "group_size": -1})), expected(None));
        for (more, key) in [
            (json!({"bits": 8}), "bits"),
            (json!({"version": "gemv"}), "version"),
            (json!({"zero_point": false}), "zero_point"),
        ] {
            let error = with(more).unwrap_err();
            assert_eq!(error.code(), "UNSUPPORTED_CONFIG", "{error}");
            assert!(error.to_string().contains(&format!("`quantization_config.{key}`")), "{error}");
        }
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let int4 = json!({"num_bits": 4, "group_size": 32});
        let but = |key: &str, value: Value| {
            let mut config = with(int4.clone());
            config[key] = value;
            config
        };
        let group = |group: Value| but("config_groups", json!({"group_0": group}));
        for (config, key) in [
            (json!({}), "quantization_config"),
            (but("quant_method", json!("bitsandbytes")), "quantization_config.quant_method"),
            (but("format", json!("float-quantized")), "quantization_config.format"),
            (but("kv_cache_scheme", json!({})), "quantization_config.kv_cache_scheme"),
            (but("sparsity_config", json!({"format": "sparse-24"})), "quantization_config.sparsity_config.format"),
            (but("transform_config", json!({"a": 1})), "quantization_config.transform_config"),
            (
                group(json!({"weights": int4, "input_activations": {"num_bits": 8}})),
                "quantization_config.config_groups.group_0.input_activations",
            ),
            (with(json!({"num_bits": 3})), "quantization_config.config_groups.group_0.weights.num_bits"),
            (with(json!({"num_bits": 8, "type": "float"})), "quantization_config.config_groups.group_0.weights.type"),
            (
                with(json!({"num_bits": 4, "actorder": "group"})),
                "quantization_config.config_groups.group_0.weights.actorder",
            ),
            (
                with(json!({"num_bits": 8, "strategy": "tensor"})),
                "quantization_config.config_groups.group_0.weights.strategy",
            ),
            (
                but("config_groups", json!({"a": {"weights": int4}, "b": {"weights": {"num_bits": 8}}})),
                "quantization_config.config_groups",
            ),
        ] {
            let error = of(config).unwrap_err();
            assert_eq!(error.code(), "UNSUPPORTED_CONFIG", "{error}");
            assert!(error.to_string().starts_with(&format!("a/b: config.json: `{key}` is ")), "{error}");
        }
        for config in [but("config_groups", json!({})), but("config_groups", Value::Null), group(json!({}))] {
            assert_eq!(of(config).unwrap_err().code(), "CONFIG_INVALID");
        }
    }
}
