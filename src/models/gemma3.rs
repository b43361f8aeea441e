//! Gemma 3, the text models, and those within models that read images too. Semantics: transformers' `modeling_gemma3.py`.

use super::gemma2::{self, is_bidirectional, only_causal};
use super::{Description, Family, Head, Names, Task};
use crate::config::{TransformerConfig, TransformerDefaults};

const DEFAULTS: TransformerDefaults = TransformerDefaults {
    vocab_size: 262_208,
    max_position_embeddings: 131_072,
    rope_theta: 1_000_000.0,
    rope_local_base_freq: Some(10_000.0),
    ..gemma2::DEFAULTS
};

/// `Gemma3ForCausalLM` and its base.
pub const FAMILY: Family = Family {
    model_type: "gemma3_text",
    classes: &[(Task::Base, "Gemma3TextModel"), (Task::CausalLm, "Gemma3ForCausalLM")],
    // attn_logit_softcapping, which its config has too, means nothing to transformers' attention.
    own_keys: &[
        "query_pre_attn_scalar",
        "final_logit_softcapping",
        "sliding_window_pattern",
        "use_bidirectional_attention",
    ],
    describe: |raw| {
        let config = TransformerConfig::parse(raw, &DEFAULTS)?;
        let pattern = raw.fields().count("sliding_window_pattern")?.unwrap_or(6);
        let causal = !is_bidirectional(raw)?;
        // Of a window that goes both ways, half is on either side.
        let window = TransformerConfig::sliding_window(raw, Some(4096))?;
        let window = if causal { window } else { window.map(|window| window / 2) };
        let windows = config.windows(raw, window, |layer| !(layer + 1).is_multiple_of(pattern))?;
        let ropes = windows.iter().map(|window| Some(usize::from(window.is_some()))).collect();
        let names = Names::GEMMA.with_qk_norm();
        Ok(Description { names, windows, ropes, causal, ..gemma2::describe(raw, config, None)? })
    },
    head: |raw, config, task| {
        if task == Task::CausalLm {
            only_causal(raw)?;
        }
        Head::of_decoder(raw, config, task)
    },
};

/// The text model where it is a part.
const WITHIN: Names = Names {
    embedding: "language_model.embed_tokens",
    layers: "language_model.layers",
    last_norm: Some("language_model.norm"),
    // As transformers 4 had it, and the first checkpoints have it.
    renamed: &[("language_model.model", "model.language_model"), ("language_model.lm_head", "lm_head")],
    ..Names::GEMMA.with_qk_norm()
};

/// What writes texts of a `Gemma3ForConditionalGeneration`; what reads images for it isn't there.
pub const WITH_IMAGES: Family = Family {
    model_type: "gemma3",
    classes: &[(Task::CausalLm, "Gemma3ForConditionalGeneration")],
    own_keys: &["text_config"],
    describe: |raw| {
        let text = raw.part("text_config", FAMILY.model_type)?;
        only_causal(&text)?;
        Ok(Description { names: WITHIN, ..(FAMILY.describe)(&text)? })
    },
    head: Head::of_decoder,
};
