//! Configs as each family reads them, and what it says of those that it can't.

use std::collections::BTreeSet;

use super::*;
use crate::config::Activation;
use crate::tensor::ops::Pool;
use crate::weights::init::Init;
use serde_json::json;

#[test]
fn configs_are_read_with_their_familys_defaults() {
    let goldens: serde_json::Value = serde_json::from_str(include_str!("../../tests/goldens/configs.json")).unwrap();
    let mut seen = BTreeSet::new();
    for case in goldens["cases"].as_array().unwrap() {
        let config = ModelConfig::from_json("a/b: config.json", case["config"].to_string().as_bytes()).unwrap();
        let (name, expected) = (&case["name"], &case["expected"]);
        let family = Family::of(&config).unwrap();
        let description = (family.describe)(&config).unwrap();
        for (key, found) in [
            ("embedding_scale", Some(description.embedding_scale)),
            ("scale", Some(description.scale)),
            ("attn_logit_softcapping", description.attn_logit_softcapping),
            ("final_logit_softcapping", description.final_logit_softcapping),
        ] {
            let expected = expected[key].as_f64().map(|value| value as f32);
            let off = |found: f32, expected: f32| (found - expected).abs() / expected;
            let close = found.zip(expected).map_or(found == expected, |(a, b)| off(a, b) <= f32::EPSILON);
            assert!(close, "{name}: {key}: {found:?} instead of {expected:?}");
        }
        let ratio = if description.scale_by_layer { description.config.num_hidden_layers as f64 } else { 1.0 };
        let expected_ratio = expected["scale_ratio"].as_f64().unwrap();
        assert!((ratio - expected_ratio).abs() < 1e-9, "{name}: {ratio} instead of {expected_ratio}");
        let mixture = description.mixture.as_ref().map(|mixture| {
            let Mixture { experts, per_token, width, normalised, layers, .. } = mixture;
            json!({
                "experts": experts, "per_token": per_token, "width": width, "normalised": normalised, "layers": layers,
            })
        });
        assert_eq!(mixture.unwrap_or_default(), expected["mixture"], "{name}");
        let convolutions = description.short_convolutions.as_ref().filter(|some| some.layers.contains(&true));
        let convolutions = convolutions
            .map(|ShortConvolutions { layers, taps, bias, .. }| json!({"taps": taps, "bias": bias, "layers": layers}));
        assert_eq!(convolutions.unwrap_or_default(), expected["convolutions"], "{name}");
        let Description { config: found, qkv_bias, output_bias, mlp_bias, windows, ropes: layer_ropes, .. } =
            description;
        assert_eq!(found.hidden_act, Activation::from_name(expected["hidden_act"].as_str().unwrap()).unwrap());
        let rotates = layer_ropes.iter().any(Option::is_some);
        let ropes: Vec<_> = [Some(&found.rope), found.local_rope.as_ref()].into_iter().flatten().collect();
        let ropes = if rotates { ropes } else { Vec::new() };
        let rotated = if rotates { found.rope.dim } else { 0 };
        assert_eq!(rotated, expected["rotated"].as_u64().unwrap() as usize, "{name}");
        assert_eq!(ropes.len(), expected["ropes"].as_array().unwrap().len(), "{name}");
        for (found, expected) in ropes.into_iter().zip(expected["ropes"].as_array().unwrap()) {
            assert_eq!(found.theta, expected[0].as_f64().unwrap(), "{name}");
            let kind = format!("{:?}", found.scaling).to_lowercase();
            assert!(kind.starts_with(expected[1].as_str().unwrap()), "{name}: {kind}");
        }
        assert_eq!(found.norm_eps, expected["rms_norm_eps"].as_f64().unwrap() as f32, "{name}");
        let found = json!({
            "vocab_size": found.vocab_size, "hidden_size": found.hidden_size,
            "intermediate_size": found.intermediate_size, "num_hidden_layers": found.num_hidden_layers,
            "num_attention_heads": found.num_attention_heads, "num_key_value_heads": found.num_key_value_heads,
            "head_dim": found.head_dim, "max_position_embeddings": found.max_position_embeddings,
            "tie_word_embeddings": found.tie_word_embeddings,
            "bos_token_id": found.special.bos, "eos_token_id": found.special.eos.first(),
            "pad_token_id": found.special.pad,
            "biases": [qkv_bias, output_bias, mlp_bias], "windows": windows, "layer_ropes": layer_ropes,
        });
        for (key, value) in found.as_object().unwrap() {
            let expected = match &expected[key] {
                serde_json::Value::Array(ids) if key == "eos_token_id" => &ids[0],
                expected => expected,
            };
            assert_eq!(value, expected, "{name}: {key}");
        }
        seen.insert(family.model_type);
    }
    let mut decoders = FAMILIES.iter().filter(|family| family.classes.iter().any(|(task, _)| *task == Task::CausalLm));
    assert!(decoders.all(|family| seen.contains(family.model_type)), "{seen:?}");
}

#[test]
fn what_a_family_cant_be_is_said_by_its_key() {
    for (model_type, keys, expected) in [
        ("mistral", json!({"sliding_window": 0}), "`sliding_window` is 0, expected a positive integer"),
        ("mistral", json!({"sliding_window": "4k"}), "`sliding_window` is \"4k\", expected a positive integer"),
        ("qwen3", json!({"use_sliding_window": 1}), "`use_sliding_window` is 1, expected true or false"),
        ("qwen2", json!({"layer_types": ["full_attention"]}), "expected a list of 2 strings"),
        ("qwen2", json!({"layer_types": ["full_attention", 7]}), "expected a list of 2 strings"),
        (
            "gemma2",
            json!({"layer_types": ["full_attention", "linear_attention"]}),
            "is not supported. Supported: full_attention, sliding_attention",
        ),
        ("smollm3", json!({"no_rope_layers": [1]}), "`no_rope_layers` is [1], expected a list of at least 2 zeros"),
        ("smollm3", json!({"no_rope_layers": [1, 2]}), "expected a list of at least 2 zeros and ones"),
        ("smollm3", json!({"no_rope_layers": "1"}), "expected a list of at least 2 zeros and ones"),
        // transformers fails on these once a prompt comes.
        (
            "smollm3",
            json!({"layer_types": ["full_attention", "sliding_attention"]}),
            "`sliding_window` is missing, expected a number, since layer 1 has a window",
        ),
        (
            "qwen3",
            json!({"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}),
            "`use_sliding_window` is missing, expected true, since layer 0 has a window",
        ),
        ("gemma2", json!({"sliding_window": null}), "`sliding_window` is null, expected a number"),
        ("gemma3_text", json!({"sliding_window": null}), "`sliding_window` is null, expected a number"),
        ("phi3", json!({"sliding_window": 0}), "`sliding_window` is 0, expected a positive integer"),
        ("qwen2", json!({"max_window_layers": -1}), "`max_window_layers` is -1, expected an integer of 0 or more"),
        ("qwen2", json!({"layer_types": "full_attention"}), "expected a list of 2 strings"),
        ("smollm3", json!({"no_rope_layer_interval": 0}), "expected a positive integer"),
        ("gemma3_text", json!({"sliding_window_pattern": 0}), "expected a positive integer"),
        ("gemma2", json!({"query_pre_attn_scalar": 0}), "expected a finite number above 0"),
        ("gemma2", json!({"attn_logit_softcapping": -50.0}), "expected a finite number above 0"),
        ("gemma", json!({"use_bidirectional_attention": true}), "what writes texts sees what is before alone"),
        ("gemma2", json!({"use_bidirectional_attention": true}), "what writes texts sees what is before alone"),
        ("gemma2", json!({"hidden_activation": "swish2"}), "`hidden_activation` is \"swish2\""),
        ("gemma3_text", json!({"rope_local_base_freq": -1}), "expected a finite number above 0"),
        ("gemma3_text", json!({"rope_parameters": {"full_attention": 7}}), "`rope_parameters.full_attention`"),
        (
            "qwen3",
            json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}}),
            "one set of parameters for all layers",
        ),
        ("phi3", json!({"partial_rotary_factor": 0.01}), "a multiple of 4 of head_dim"),
        ("phi3", json!({"partial_rotary_factor": 1.5}), "a multiple of 4 of head_dim"),
        ("llama", json!({"partial_rotary_factor": 0.5}), "Supported: 1.0"),
        ("gpt_neo", json!({"attention_types": [[["global"], 1]]}), "patterns of \"global\" and \"local\""),
        ("gpt_neo", json!({"attention_types": [[["global"], u64::MAX]]}), "that come to all layers"),
        ("gpt_neo", json!({"attention_types": [[["global", "far"], 1]]}), "that come to all layers"),
        ("gpt_neo", json!({"attention_types": [["global", 2]]}), "that come to all layers"),
        ("gpt_neo", json!({"attention_types": "global"}), "that come to all layers"),
        ("gpt_neo", json!({"window_size": 0}), "`window_size` is 0, expected a positive integer"),
        ("opt", json!({"word_embed_proj_dim": 512}), "embeddings are not projected"),
        ("opt", json!({"layer_norm_elementwise_affine": false}), "norms have weights"),
        ("opt", json!({"enable_bias": "no"}), "expected true or false"),
        ("phi", json!({"qk_layernorm": true}), "queries and keys have no LayerNorm"),
        ("phi", json!({"partial_rotary_factor": 0.01}), "a multiple of 4 of head_dim"),
        ("stablelm", json!({"qk_layernorm": true}), "queries and keys have no LayerNorm"),
        (
            "lfm2",
            json!({"hidden_size": 36, "num_attention_heads": 9, "num_key_value_heads": 9}),
            "`hidden_size` is 36, which is not supported. Supported: multiples of 8",
        ),
        ("lfm2", json!({"conv_L_cache": 0}), "expected a positive integer"),
        ("lfm2", json!({"conv_L_cache": u32::MAX}), "`conv_L_cache` is 4294967295, expected a weight of at most"),
        ("lfm2", json!({"block_ff_dim": 1u64 << 31}), "`block_ff_dim`"),
        ("lfm2", json!({"block_ffn_dim_multiplier": 1e300}), "`block_ff_dim`"),
        ("lfm2", json!({"block_ffn_dim_multiplier": -1.0}), "expected a finite number above 0"),
        ("lfm2", json!({"layer_types": ["conv", "sliding_attention"]}), "Supported: full_attention, conv"),
        ("lfm2", json!({"full_attn_idxs": [-1]}), "expected a list of integers of 0 or more"),
        ("starcoder2", json!({"use_bias": 1}), "`use_bias` is 1, expected true or false"),
        (
            "granite",
            json!({"residual_multiplier": 0.2, "mlp_bias": true}),
            "1 where attention_bias or mlp_bias is true",
        ),
        ("granitemoehybrid", json!({"num_local_experts": 0}), "Supported: attention in every layer"),
        (
            "granitemoehybrid",
            json!({"num_local_experts": 0, "layer_types": ["attention", "mamba"]}),
            "Supported: attention in every layer",
        ),
        (
            "granitemoehybrid",
            json!({"layer_types": ["attention", "attention"]}),
            "`num_local_experts` is missing, which is not supported. Supported: 0",
        ),
        ("cohere", json!({"use_qk_norm": true}), "queries and keys have no LayerNorm"),
        ("cohere2", json!({"sliding_window_pattern": 0}), "expected a positive integer"),
        ("granite", json!({"logits_scaling": 0}), "expected a finite number above 0"),
        ("gpt2", json!({"n_embd": 0}), "`n_embd` is 0, expected a positive integer"),
        ("gpt2", json!({"n_head": 7}), "`n_embd` is missing, expected a multiple of num_attention_heads (7)"),
        ("gpt2", json!({"hidden_size": 10}), "`hidden_size` is 10, expected a multiple of num_attention_heads (12)"),
        ("gpt2", json!({"n_positions": 4_294_967_295_u32}), "`n_positions` is 4294967295, expected a weight of at"),
        ("gpt2", json!({"n_inner": "wide"}), "`n_inner` is \"wide\", expected a positive integer"),
        ("gpt2", json!({"activation_function": "mish"}), "`activation_function` is \"mish\""),
        ("gpt2", json!({"layer_norm_epsilon": 2}), "`layer_norm_epsilon` is 2, expected a number from 0 to 1"),
        ("gpt2", json!({"scale_attn_weights": 1}), "`scale_attn_weights` is 1, expected true or false"),
        ("gpt2", json!({"scale_attn_by_inverse_layer_idx": 1}), "expected true or false"),
        ("gpt2", json!({"reorder_and_upcast_attn": "no"}), "expected true or false"),
        ("gpt2", json!({"add_cross_attention": true}), "a decoder has no encoder to attend to"),
        ("gpt_neox", json!({"rotary_pct": 0.01}), "`rotary_pct` is 0.01, expected a factor that makes a multiple of 4"),
        ("gpt_neox", json!({"rotary_emb_base": 0}), "`rotary_emb_base` is 0, expected a finite number above 0"),
        ("gpt_neox", json!({"layer_norm_eps": -1}), "`layer_norm_eps` is -1, expected a number from 0 to 1"),
        ("qwen3_moe", json!({"num_experts": 0}), "`num_experts` is 0, expected a positive integer"),
        ("qwen3_moe", json!({"num_local_experts": 0}), "`num_local_experts` is 0, expected a positive integer"),
        ("qwen3_moe", json!({"num_experts_per_tok": 0}), "`num_experts_per_tok` is 0, expected a positive integer"),
        (
            "qwen3_moe",
            json!({"num_experts": 4, "num_experts_per_tok": 5}),
            "`num_experts_per_tok` is 5, expected at most num_experts (4)",
        ),
        ("olmoe", json!({"clip_qkv": 8.0}), "`clip_qkv` is 8.0, which is not supported. Supported: null"),
        ("olmoe", json!({"num_experts": 7}), "`num_experts_per_tok` is missing, expected at most num_experts (7)"),
        ("mixtral", json!({"num_local_experts": 1}), "expected at most num_local_experts (1)"),
        (
            "mixtral",
            json!({"num_local_experts": 4_000_000_000_u32}),
            "`num_local_experts` is 4000000000, expected at most 32768 in all layers together, not 8000000000",
        ),
        ("qwen3_moe", json!({"num_experts": 40_000}), "expected at most 32768 in all layers together, not 80000"),
        (
            "qwen3_moe",
            json!({"moe_intermediate_size": 4_000_000_000_u32}),
            "`moe_intermediate_size` is 4000000000, expected a weight of at most",
        ),
        ("qwen3_moe", json!({"moe_intermediate_size": "wide"}), "expected a positive integer"),
        ("qwen3_moe", json!({"norm_topk_prob": 1}), "`norm_topk_prob` is 1, expected true or false"),
        ("qwen3_moe", json!({"decoder_sparse_step": 0}), "`decoder_sparse_step` is 0, expected a positive integer"),
        ("qwen3_moe", json!({"mlp_only_layers": [-1]}), "expected a list of integers of 0 or more"),
        ("qwen3_moe", json!({"mlp_only_layers": 3}), "expected a list of integers of 0 or more"),
        ("gpt_neox", json!({"use_parallel_residual": "yes"}), "expected true or false"),
        ("gpt_neox", json!({"attention_bias": 2}), "expected true or false"),
    ] {
        let mut config = json!({"model_type": model_type, "num_hidden_layers": 2});
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let config = ModelConfig::from_json("a/b: config.json", config.to_string().as_bytes()).unwrap();
        let error = (Family::of(&config).unwrap().describe)(&config).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("a/b: config.json: ") && message.contains(expected), "{message}\n{expected}");
    }
}

/// GPT-2's residual layers are initialised smaller, and its embedding has no row for padding.
#[test]
fn new_weights_are_initialised_as_the_family_does() {
    let init_of = |model_type: &str, tensor: &str| {
        // Where layers may be without attention, the first is.
        let keys = json!({
            "model_type": model_type, "num_hidden_layers": 2, "pad_token_id": 3, "full_attn_idxs": [1],
        });
        let config = ModelConfig::from_json("config", keys.to_string().as_bytes()).unwrap();
        let family = Family::of(&config).unwrap();
        let task = if model_type == "t5" { Task::Seq2SeqLm } else { Task::CausalLm };
        let model = family.build(&config, task, true).unwrap();
        let found = model.weights().tensors().find(|(name, ..)| *name == tensor);
        found.map(|(_, shape, init)| (shape, init)).unwrap()
    };
    let normal = |std, zero_row| Init::Normal { std, zero_row };
    for (model_type, tensor, shape, init) in [
        ("llama", "model.embed_tokens.weight", vec![32_000, 4096], normal(0.02, Some(3))),
        ("llama", "model.layers.1.mlp.down_proj.weight", vec![4096, 11_008], normal(0.02, None)),
        ("gpt2", "transformer.wte.weight", vec![50_257, 768], normal(0.02, None)),
        ("gpt2", "transformer.wpe.weight", vec![1024, 768], normal(0.02, None)),
        ("gpt2", "transformer.h.1.attn.c_attn.weight", vec![768, 2304], normal(0.02, None)),
        ("gpt2", "transformer.h.1.attn.c_proj.weight", vec![768, 768], normal(0.01, None)),
        ("gpt2", "transformer.h.1.mlp.c_proj.weight", vec![3072, 768], normal(0.01, None)),
        ("gpt2", "transformer.h.1.mlp.c_proj.bias", vec![768], Init::Zeros),
        ("gpt2", "transformer.ln_f.weight", vec![768], Init::Ones),
        ("gpt2", "transformer.ln_f.bias", vec![768], Init::Zeros),
        ("gpt_neox", "gpt_neox.embed_in.weight", vec![50_432, 6144], normal(0.02, None)),
        ("gpt_neox", "gpt_neox.layers.1.attention.dense.weight", vec![6144, 6144], normal(0.02, None)),
        ("gpt_neox", "lm_head.weight", vec![50_432, 6144], normal(0.02, None)),
        ("t5", "shared.weight", vec![32_128, 512], normal(1.0, None)),
        ("t5", "encoder.block.1.layer.0.SelfAttention.q.weight", vec![512, 512], normal(1.0 / 32_768f32.sqrt(), None)),
        (
            "t5",
            "decoder.block.0.layer.1.EncDecAttention.q.weight",
            vec![512, 512],
            normal(1.0 / 32_768f32.sqrt(), None),
        ),
        ("t5", "decoder.block.1.layer.0.SelfAttention.k.weight", vec![512, 512], normal(1.0 / 512f32.sqrt(), None)),
        ("t5", "decoder.block.0.layer.2.DenseReluDense.wo.weight", vec![512, 2048], normal(1.0 / 2048f32.sqrt(), None)),
        (
            "t5",
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            vec![32, 8],
            normal(1.0 / 512f32.sqrt(), None),
        ),
        ("qwen3_moe", "model.layers.1.mlp.gate.weight", vec![128, 2048], normal(0.02, None)),
        ("qwen3_moe", "model.layers.1.mlp.experts.127.down_proj.weight", vec![2048, 768], normal(0.02, None)),
        ("lfm2", "model.layers.0.conv.conv.weight", vec![2560, 1, 3], normal(0.02, None)),
        ("mixtral", "model.layers.1.block_sparse_moe.experts.7.w3.weight", vec![14_336, 4096], normal(0.02, None)),
    ] {
        assert_eq!(init_of(model_type, tensor), (shape, init), "{tensor}");
    }
}

#[test]
fn the_packages_overrides_are_the_families_keys() {
    let text = include_str!("../../js/src/config_overrides.ts");
    let theirs: BTreeSet<&str> = text.lines().filter_map(|line| line.trim().strip_suffix(": true,")).collect();
    let ours = FAMILIES.iter().flat_map(Family::config_keys).collect();
    assert_eq!(theirs, ours);
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let config = |json: serde_json::Value| ModelConfig::from_json("a/b: config.json", json.to_string().as_bytes());
    let error = Family::of(&config(json!({"model_type": "mamba"})).unwrap()).unwrap_err();
    assert_eq!(error.code(), "UNSUPPORTED_MODEL_TYPE");
    let known = "model_type \"mamba\" is not supported. Supported: arcee, bart, bert, clip, clip_text_model, clip_vision_model, cohere, cohere2, distilbert, ernie4_5, exaone4, gemma, gemma2, gemma3_text, gemma3, glm, glm4, gpt2, gpt_neo, gpt_neox, granite, granitemoehybrid, helium, lfm2, llama, m2m_100, marian, mbart, mistral, mixtral, modernbert, mpnet, mt5, olmo2, olmo3, olmoe, opt, pegasus, phi, phi3, qwen2, qwen3, qwen3_moe, roberta, seed_oss, smollm3, stablelm, starcoder2, t5, vit, whisper, xlm-roberta";
    assert_eq!(error.to_string(), format!("a/b: config.json: {known}"));
    let error = Family::of(&config(json!({})).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "a/b: config.json: `model_type` is missing, expected a value");
}

#[test]
fn configs_of_encoders_are_read_with_their_familys_defaults() {
    let goldens: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/goldens/encoder_configs.json")).unwrap();
    let mut seen = BTreeSet::new();
    for case in goldens["cases"].as_array().unwrap() {
        let (name, expected) = (case["name"].as_str().unwrap(), &case["expected"]);
        let config = ModelConfig::from_json("a/b: config.json", case["config"].to_string().as_bytes()).unwrap();
        let family = Family::of(&config).unwrap();
        let description = (family.describe)(&config).unwrap();
        let own = &description.config;
        let windows: Vec<Option<usize>> = match expected.get("reach") {
            Some(reach) => serde_json::from_value(reach.clone()).unwrap(),
            None => vec![None; own.num_hidden_layers],
        };
        assert_eq!(description.windows, windows, "{name}");
        assert!(!description.causal && description.layer_norms, "{name}");
        let activation = |key: &str| Activation::from_name(expected[key].as_str().unwrap());
        assert_eq!(Some(own.hidden_act), activation("hidden_act"), "{name}");
        assert_eq!(own.norm_eps, expected["layer_norm_eps"].as_f64().unwrap() as f32, "{name}");
        let positions = description.names.positions.map(|_| own.max_position_embeddings);
        let found = json!({
            "vocab_size": own.vocab_size, "hidden_size": own.hidden_size,
            "num_hidden_layers": own.num_hidden_layers, "num_attention_heads": own.num_attention_heads,
            "intermediate_size": own.intermediate_size, "max_position_embeddings": own.max_position_embeddings,
            "position_rows": positions, "pad_token_id": own.special.pad,
            "type_vocab_size": Some(description.token_types).filter(|types| *types > 0),
            "tie_word_embeddings": own.tie_word_embeddings,
        });
        for (key, value) in found.as_object().unwrap() {
            assert_eq!(value, &expected[key], "{name}: {key}");
        }
        let head = |task| (family.head)(&config, own, task).unwrap();
        let labels = expected["id2label"].as_object().unwrap().len();
        let classifier = head(Task::TokenClassification);
        assert_eq!(classifier.logits.map(|logits| logits.outputs), Some(labels), "{name}");
        if family.model_type == "modernbert" {
            for (key, found) in [
                ("norm_bias", description.norm_bias),
                ("attention_bias", description.qkv_bias && description.output_bias),
                ("mlp_bias", description.mlp_bias),
                ("decoder_bias", head(Task::MaskedLm).logits.unwrap().bias.is_some()),
                ("classifier_bias", classifier.dense.unwrap().bias),
            ] {
                assert_eq!(expected[key], found, "{name}: {key}");
            }
            assert_eq!(Some(classifier.dense.unwrap().activation), activation("classifier_activation"), "{name}");
            let pool = if expected["classifier_pooling"] == "mean" { Pool::Mean } else { Pool::First };
            assert_eq!(head(Task::SequenceClassification).pool, Some(pool), "{name}");
            for (kind, rope) in [("full_attention", Some(&own.rope)), ("sliding_attention", own.local_rope.as_ref())] {
                let Some(expected) = expected["inv_freq"].get(kind).and_then(serde_json::Value::as_array) else {
                    continue;
                };
                for (found, expected) in rope.unwrap().inv_freq(0).iter().zip(expected) {
                    let off = f64::from(*found) - expected.as_f64().unwrap();
                    assert!(off.abs() <= 1e-6 * f64::from(*found), "{name}: {kind}: {found} instead of {expected}");
                }
            }
        }
        seen.insert(family.model_type);
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["bert", "distilbert", "modernbert", "mpnet", "roberta", "xlm-roberta"]
    );
}

/// As transformers 5 reads such configs: the common names are the encoder's, whatever the decoder's say.
#[test]
fn depths_and_heads_of_two_stacks_are_each_its_own() {
    for (keys, layers, heads) in [
        (json!({"model_type": "bart", "num_hidden_layers": 7}), [7, 12], [16, 16]),
        (json!({"model_type": "bart", "encoder_layers": 3, "decoder_layers": 2}), [3, 2], [16, 16]),
        // As distilled models have it.
        (json!({"model_type": "bart", "num_hidden_layers": 7, "decoder_layers": 2}), [7, 2], [16, 16]),
        (json!({"model_type": "bart", "num_attention_heads": 8, "decoder_attention_heads": 2}), [12, 12], [8, 2]),
        (json!({"model_type": "marian", "num_hidden_layers": 7, "encoder_layers": 3}), [7, 12], [16, 16]),
        (json!({"model_type": "pegasus", "num_hidden_layers": 7, "encoder_layers": 3}), [7, 12], [16, 16]),
        (json!({"model_type": "m2m_100", "decoder_layers": 2}), [12, 2], [16, 16]),
        (json!({"model_type": "whisper", "num_hidden_layers": 7, "num_attention_heads": 8}), [7, 4], [8, 6]),
        (json!({"model_type": "t5", "num_layers": 3}), [3, 3], [8, 8]),
        (json!({"model_type": "t5", "num_layers": 3, "num_decoder_layers": null}), [3, 3], [8, 8]),
        (json!({"model_type": "t5", "num_hidden_layers": 7}), [7, 6], [8, 8]),
        (json!({"model_type": "mt5", "num_hidden_layers": 7, "num_decoder_layers": 2, "num_heads": 4}), [7, 2], [4, 4]),
    ] {
        let config = ModelConfig::from_json("a/b: config.json", keys.to_string().as_bytes()).unwrap();
        let description = (Family::of(&config).unwrap().describe)(&config).unwrap();
        let both = [&description.encoder.unwrap().config, &description.config];
        assert_eq!(both.map(|stack| stack.num_hidden_layers), layers, "{keys}");
        assert_eq!(both.map(|stack| stack.num_attention_heads), heads, "{keys}");
    }
}

#[test]
fn what_a_caller_describes_wrongly_is_said_by_its_key() {
    for (described, expected) in [
        (json!({"like": "mamba"}), "model_type \"mamba\" is not supported. Supported: arcee, bart, "),
        (json!({"like": "bart"}), "`like` is \"bart\", which is not supported. Supported: decoders"),
        (
            json!({"like": "llama", "description": {"gated": 1}}),
            "the architecture \"mine\": `gated` is 1, expected true or false",
        ),
        (json!({"like": "llama", "description": {"scale": true}}), "`scale` is true, expected a finite number"),
        (json!({"like": "llama", "description": {"scale": "width"}}), "`width` is \"wide\", expected a finite number"),
        (json!({"like": "llama", "description": {"bias": true}}), "`bias` is true, which is not supported"),
        (json!({"like": "llama", "names": {"norm": "ln"}}), "Supported: the keys attended_norm, base, down, "),
        (
            json!({"like": "llama", "names": {"qkv": ["q", "kv"]}}),
            "`qkv` is [\"q\",\"kv\"], expected a list of 3 strings",
        ),
        (json!({"like": "llama", "names": {"gate_up": 3}}), "`gate_up` is 3, expected a list of 2 strings"),
        (json!({"like": "llama", "names": {"input_norm": 3}}), "`input_norm` is 3, expected a string"),
        (
            json!({"like": "llama", "description": {"gated": false}}),
            "expected the module's name, since there is no gate",
        ),
        (
            json!({"like": "gpt2", "description": {"qkv_by_head": true}, "names": {"qkv": ["q", "k", "v"]}}),
            "one module",
        ),
        (json!({"like": "bert", "description": {"parallel": true}}), "layers without attended_norm"),
        (json!({"like": "llama", "names": {"layers": null, "qk_norm": ["q"]}}), "expected a list of 2 strings"),
    ] {
        let mut registered: Registered = serde_json::from_value(described).unwrap();
        registered.model_type = "mine".to_owned();
        let registered = [registered];
        let config = json!({"model_type": "mine", "num_hidden_layers": 2, "width": "wide"}).to_string();
        let config = ModelConfig::from_json("a/b: config.json", config.as_bytes()).unwrap();
        let built = Architecture::of(&config, &registered).map_err(crate::Error::from);
        let message = built.and_then(|one| one.build(&config, Task::Base, true)).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}\n{expected}");
    }
}

/// The first T5 scales its words, whatever its checkpoint turns out to have; its head is the embedding unless both are there.
#[test]
fn t5_scales_by_its_config_and_ties_by_its_checkpoint() {
    for (keys, scaled) in [
        (json!({}), true),
        (json!({"tie_word_embeddings": true}), true),
        (json!({"tie_word_embeddings": false}), false),
        (json!({"tie_word_embeddings": true, "scale_decoder_outputs": false}), false),
    ] {
        let mut config = json!({"model_type": "t5", "num_layers": 1});
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let config = ModelConfig::from_json("a/b: config.json", config.to_string().as_bytes()).unwrap();
        let family = Family::of(&config).unwrap();
        let scale = (family.describe)(&config).unwrap().logit_scale;
        assert_eq!(scale, if scaled { 1.0 / 512f32.sqrt() } else { 1.0 }, "{keys}");
        for ties in [true, false] {
            let model = family.build(&config, Task::Seq2SeqLm, ties).unwrap();
            let own = model.weights().tensors().any(|(name, ..)| name == "lm_head.weight");
            assert_eq!((own, model.keys().head.is_some()), (!ties, ties), "{keys}");
        }
    }
}

#[test]
fn a_callers_architecture_is_changed_by_the_known_keys_and_its_own() {
    let mut registered: Registered =
        serde_json::from_value(json!({"like": "llama", "config_keys": {"num_hidden_layers": "depth"}})).unwrap();
    registered.model_type = "mine".to_owned();
    let registered = [registered];
    let config = json!({"model_type": "mine", "depth": 5, "hidden_size": 64, "num_attention_heads": 2}).to_string();
    let config = ModelConfig::from_json("a/b: config.json", config.as_bytes()).unwrap();
    let architecture = Architecture::of(&config, &registered).unwrap();
    for (overrides, depth) in [(json!({}), 5), (json!({"num_hidden_layers": 2}), 2), (json!({"depth": 3}), 3)] {
        let config = architecture.with_overrides(&config, overrides.as_object().unwrap().clone()).unwrap();
        let model = architecture.build(&config, Task::Base, true).unwrap();
        assert_eq!((0..model.blocks().len()).filter(|block| model.is_layer(*block)).count(), depth);
        assert_eq!(architecture.as_known(&config).model_type().unwrap(), "llama");
    }
    let unknown = json!({"heads": 3}).as_object().unwrap().clone();
    assert_eq!(architecture.with_overrides(&config, unknown).unwrap_err().code(), "UNSUPPORTED_OPTION");
}

#[test]
fn an_architecture_without_a_head_for_a_task_says_which_it_has() {
    for (model_type, task, expected) in [
        (
            "llama",
            Task::MaskedLm,
            "llama models have no head for AutoModelForMaskedLM. They have: AutoModel, AutoModelForCausalLM",
        ),
        (
            "bert",
            Task::CausalLm,
            "bert models have no head for AutoModelForCausalLM. They have: AutoModel, AutoModelForMaskedLM, \
             AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoModelForQuestionAnswering",
        ),
    ] {
        let config = json!({"model_type": model_type}).to_string();
        let config = ModelConfig::from_json("a/b: config.json", config.as_bytes()).unwrap();
        let error = Family::of(&config).unwrap().build(&config, task, true).err().unwrap();
        assert_eq!(error.code(), "UNSUPPORTED_MODEL_TYPE");
        assert_eq!(error.to_string(), format!("a/b: config.json: {expected}"));
    }
}

#[test]
fn what_an_encoder_cant_be_is_said_by_its_key() {
    for (model_type, task, keys, expected) in [
        ("bert", Task::Base, json!({"is_decoder": true}), "`is_decoder` is true, which is not supported"),
        (
            "bert",
            Task::Base,
            json!({"position_embedding_type": "relative_key"}),
            "`position_embedding_type` is \"relative_key\", which is not supported. Supported: absolute",
        ),
        (
            "gemma3_text",
            Task::CausalLm,
            json!({"use_bidirectional_attention": true}),
            "what writes texts sees what is before alone",
        ),
        ("bert", Task::Base, json!({"type_vocab_size": 0}), "`type_vocab_size` is 0, expected a positive integer"),
        ("bert", Task::Base, json!({"num_attention_heads": 7}), "expected a multiple of num_attention_heads (7)"),
        ("bert", Task::TokenClassification, json!({"id2label": 3}), "`id2label` is 3, expected an object"),
        (
            "bert",
            Task::TokenClassification,
            json!({"num_labels": 9_000_000}),
            "`num_labels` is 9000000, expected at most",
        ),
        (
            "roberta",
            Task::Base,
            json!({"pad_token_id": 511}),
            "`max_position_embeddings` is missing, expected more than pad_token_id (511) + 1",
        ),
        ("roberta", Task::Base, json!({"pad_token_id": null}), "`pad_token_id` is null, expected a token id"),
        ("distilbert", Task::Base, json!({"dim": 10}), "`dim` is 10, expected a multiple of num_attention_heads (12)"),
        ("distilbert", Task::Base, json!({"activation": "mish"}), "`activation` is \"mish\", which is not supported"),
        ("modernbert", Task::Base, json!({"local_attention": "wide"}), "expected a positive integer"),
        ("modernbert", Task::Base, json!({"global_attn_every_n_layers": 0}), "expected a positive integer"),
        (
            "modernbert",
            Task::SequenceClassification,
            json!({"classifier_pooling": "max"}),
            "`classifier_pooling` is \"max\", which is not supported. Supported: cls, mean",
        ),
        ("modernbert", Task::MaskedLm, json!({"classifier_activation": 1}), "expected a string"),
        (
            "vit",
            Task::Base,
            json!({"pooler_output_size": 5}),
            "`pooler_output_size` is 5, which is not supported. Supported: hidden_size (768)",
        ),
        ("vit", Task::Base, json!({"pooler_act": "mish"}), "`pooler_act` is \"mish\", which is not supported"),
        ("vit", Task::ImageClassification, json!({"patch_size": 225}), "expected at most the image's 224 × 224"),
        ("clip_vision_model", Task::VisionProjection, json!({"projection_dim": 0}), "expected a positive integer"),
        (
            "mpnet",
            Task::Base,
            json!({"relative_attention_num_buckets": 64}),
            "`relative_attention_num_buckets` is 64, which is not supported. Supported: 32",
        ),
        (
            "t5",
            Task::Base,
            json!({"relative_attention_num_buckets": 6}),
            "`relative_attention_num_buckets` is 6, expected a multiple of 4",
        ),
        (
            "t5",
            Task::Base,
            json!({"relative_attention_max_distance": 16}),
            "`relative_attention_max_distance` is 16, expected more than 16, up to which every distance has a bucket",
        ),
        (
            "t5",
            Task::Seq2SeqLm,
            json!({"feed_forward_proj": "gated-mish"}),
            "`feed_forward_proj` is \"gated-mish\", which is not supported. Supported: ",
        ),
        ("mt5", Task::Seq2SeqLm, json!({"d_kv": 7}), "`d_kv` is 7, expected an even number"),
        ("mt5", Task::Seq2SeqLm, json!({"num_decoder_layers": 0}), "`num_decoder_layers` is 0"),
    ] {
        let mut config = json!({"model_type": model_type, "num_hidden_layers": 2});
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let config = ModelConfig::from_json("a/b: config.json", config.to_string().as_bytes()).unwrap();
        let message = Family::of(&config).unwrap().build(&config, task, true).err().unwrap().to_string();
        assert!(message.starts_with("a/b: config.json: ") && message.contains(expected), "{message}\n{expected}");
    }
}
