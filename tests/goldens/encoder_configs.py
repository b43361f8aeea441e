"""Writes encoder_configs.json: what transformers makes of encoders' config.json files, v4's and v5's, sparse and full.

Run with torch and transformers installed: python tests/goldens/encoder_configs.py
"""

import json
import pathlib

import torch
import transformers
from transformers import AutoConfig, AutoModel

from measure import line, write_json

FAMILIES = ("bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "modernbert")
# Keys that say nothing of what a model computes.
IRRELEVANT = {"architectures": None, "gradient_checkpointing": False, "position_embedding_type": "absolute"}

CASES = {f"{family} and nothing else": {"model_type": family} for family in FAMILIES} | {
    "bert, a few keys": {"model_type": "bert", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2},
    "bert, as a small sentence encoder has it": IRRELEVANT | {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "_name_or_path": "nreimers/MiniLM-L6-H384-uncased",
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 384,
        "initializer_range": 0.02,
        "intermediate_size": 1536,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "num_hidden_layers": 6,
        "pad_token_id": 0,
        "transformers_version": "4.8.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": 30522,
    },
    # Before v5 a config could say what nothing reads today.
    "bert, old keys, another activation": {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "directionality": "bidi",
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-5,
        "pad_token_id": 3,
        "pooler_fc_size": 768,
        "pooler_num_attention_heads": 12,
        "pooler_type": "first_token_transform",
        "type_vocab_size": 4,
        "vocab_size": 21128,
    },
    "bert, labels by name": {
        "architectures": ["BertForTokenClassification"],
        "model_type": "bert",
        "id2label": {"0": "O", "1": "B-PER", "2": "I-PER", "3": "B-LOC"},
        "label2id": {"O": 0, "B-PER": 1, "I-PER": 2, "B-LOC": 3},
        "_num_labels": 4,
    },
    "bert, labels by number alone": {"model_type": "bert", "num_labels": 5},
    "bert, no padding, untied": {"model_type": "bert", "pad_token_id": None, "tie_word_embeddings": False},
    "roberta, as the base model has it": {
        "architectures": ["RobertaForMaskedLM"],
        "model_type": "roberta",
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 768,
        "initializer_range": 0.02,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "pad_token_id": 1,
        "type_vocab_size": 1,
        "vocab_size": 50265,
    },
    "xlm-roberta, as the base model has it": IRRELEVANT | {
        "architectures": ["XLMRobertaForMaskedLM"],
        "model_type": "xlm-roberta",
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "output_past": True,
        "pad_token_id": 1,
        "torch_dtype": "float32",
        "transformers_version": "4.17.0.dev0",
        "type_vocab_size": 1,
        "use_cache": True,
        "vocab_size": 250002,
    },
    "distilbert, its own names, two labels": {
        "activation": "gelu",
        "architectures": ["DistilBertForSequenceClassification"],
        "attention_dropout": 0.1,
        "dim": 768,
        "dropout": 0.1,
        "finetuning_task": "sst-2",
        "hidden_dim": 3072,
        "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
        "initializer_range": 0.02,
        "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
        "max_position_embeddings": 512,
        "model_type": "distilbert",
        "n_heads": 12,
        "n_layers": 6,
        "output_past": True,
        "pad_token_id": 0,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        "vocab_size": 30522,
    },
    "distilbert, others' names for the same": {
        "model_type": "distilbert",
        "hidden_size": 96,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "layer_norm_eps": 1e-5,
    },
    # These two have other names, which nothing maps to distilbert's own.
    "distilbert, names that it doesn't read": {
        "model_type": "distilbert",
        "activation": "relu",
        "dim": 96,
        "n_heads": 4,
        "hidden_act": "silu",
        "intermediate_size": 100,
    },
    "modernbert, as v4 saved the base model": IRRELEVANT | {
        "architectures": ["ModernBertForMaskedLM"],
        "model_type": "modernbert",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 50281,
        "classifier_activation": "gelu",
        "classifier_bias": False,
        "classifier_dropout": 0.0,
        "classifier_pooling": "mean",
        "cls_token_id": 50281,
        "decoder_bias": True,
        "deterministic_flash_attn": False,
        "embedding_dropout": 0.0,
        "eos_token_id": 50282,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "hidden_activation": "gelu",
        "hidden_size": 768,
        "initializer_cutoff_factor": 2.0,
        "initializer_range": 0.02,
        "intermediate_size": 1152,
        "layer_norm_eps": 1e-05,
        "local_attention": 128,
        "local_rope_theta": 10000.0,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "norm_bias": False,
        "norm_eps": 1e-05,
        "num_attention_heads": 12,
        "num_hidden_layers": 22,
        "pad_token_id": 50283,
        "sep_token_id": 50282,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "transformers_version": "4.47.0.dev0",
        "vocab_size": 50368,
    },
    "modernbert, v4, all that may differ": {
        "model_type": "modernbert",
        "attention_bias": True,
        "classifier_activation": "silu",
        "classifier_bias": True,
        "decoder_bias": False,
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 20000,
        "hidden_activation": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-3,
        "local_attention": 33,
        "local_rope_theta": 500.0,
        "mlp_bias": True,
        "norm_bias": True,
        "norm_eps": 1e-6,
        "num_hidden_layers": 5,
        "tie_word_embeddings": False,
    },
    "modernbert, v5": {
        "model_type": "modernbert",
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        "num_hidden_layers": 4,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 80000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
        },
    },
    "modernbert, v5, one rope of two, beside v4's keys": {
        "model_type": "modernbert",
        "global_rope_theta": 7000.0,
        "local_rope_theta": 3000.0,
        "num_hidden_layers": 3,
        "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 80000.0}},
    },
    "modernbert, v4, scaled": {
        "model_type": "modernbert",
        "num_hidden_layers": 3,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    },
    "modernbert, layer types beside an interval that says otherwise": {
        "model_type": "modernbert",
        "global_attn_every_n_layers": 1,
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
        "num_hidden_layers": 3,
    },
}  # fmt: skip


MODERNBERT_KEYS = (
    "norm_bias", "attention_bias", "mlp_bias", "decoder_bias", "classifier_bias", "classifier_pooling",
    "classifier_activation", "hidden_activation", "local_attention",
)  # fmt: skip


def expected(keys):
    # What from_pretrained does with the file's keys, which it changes.
    config = AutoConfig.for_model(keys["model_type"]).from_dict(json.loads(json.dumps(keys)))
    with torch.device("meta"):
        base = AutoModel.from_config(config)
    modernbert = config.model_type == "modernbert"
    embeddings = base.embeddings
    positions = getattr(embeddings, "position_embeddings", None)
    types = getattr(embeddings, "token_type_embeddings", None)
    norm = embeddings.norm if modernbert else embeddings.LayerNorm
    attributes = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": first(config, "hidden_dim", "intermediate_size"),
        "hidden_act": first(config, "activation", "hidden_activation", "hidden_act"),
        "max_position_embeddings": config.max_position_embeddings,
        # Null: it has no such table.
        "position_rows": positions and positions.num_embeddings,
        "type_vocab_size": types and types.num_embeddings,
        # The norm's, whatever the config calls it or doesn't say of it.
        "layer_norm_eps": norm.eps,
        "pad_token_id": config.pad_token_id,
        "tie_word_embeddings": config.tie_word_embeddings,
        "dtype": None if config.dtype is None else str(config.dtype).removeprefix("torch."),
        "id2label": {str(index): label for index, label in config.id2label.items()},
    }
    return attributes | (of_modernbert(config, base) if modernbert else {})


def first(config, *names):
    """What the first of the names that the family has says: a foreign name may be there too, and is not read."""
    return next(getattr(config, name) for name in names if hasattr(config, name))


def of_modernbert(config, base):
    ropes = {kind: config.rope_parameters[kind] for kind in ("full_attention", "sliding_attention")}
    windows = [layer.attn.sliding_window for layer in base.layers]
    rotary = type(base.rotary_emb)(config)  # the model's is on no device
    return {key: getattr(config, key) for key in MODERNBERT_KEYS} | {
        "layer_types": line(config.layer_types),
        # Of each layer, how far from a token those are that it attends to; null: it attends to all.
        "reach": line([None if window is None else window - 1 for window in windows]),
        "rope_parameters": ropes,
        # A layer's kind is there only if a layer has it.
        "inv_freq": {
            kind: line(getattr(rotary, f"{kind}_inv_freq").tolist()) for kind in ropes if kind in config.layer_types
        },
    }


def main():
    defaults = {family: AutoConfig.for_model(family).to_dict() for family in FAMILIES}
    for keys in defaults.values():
        del keys["transformers_version"]
    cases = [{"name": name, "config": keys, "expected": expected(keys)} for name, keys in CASES.items()]
    made_by = {"torch": torch.__version__, "transformers": transformers.__version__}
    contents = {"made_by": made_by, "defaults": defaults, "cases": cases}
    write_json(pathlib.Path(__file__).with_suffix(".json"), contents)


if __name__ == "__main__":
    main()
