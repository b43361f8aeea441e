"""The tiny encoders of encoders.py: sizes, heads, dtypes, and what each has that the others lack."""

import torch

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16

# Nothing a power of two. The small ones are for float32, whose files are twice as large.
SIZES = dict(
    vocab_size=131, hidden_size=72, num_hidden_layers=2, num_attention_heads=6, intermediate_size=100,
    max_position_embeddings=80, initializer_range=0.2,
)  # fmt: skip
SMALL = SIZES | dict(hidden_size=48, num_attention_heads=4, intermediate_size=76)
# Windows of eight positions: four before and four after.
MODERN = SIZES | dict(
    hidden_size=48, num_attention_heads=4, intermediate_size=76, num_hidden_layers=4, global_attn_every_n_layers=2,
    local_attention=8, global_rope_theta=1_000.0, local_rope_theta=50.0, pad_token_id=0, bos_token_id=1,
    cls_token_id=1, eos_token_id=2, sep_token_id=2,
)  # fmt: skip
MODERN_SMALL = MODERN | dict(hidden_size=36, num_attention_heads=3, intermediate_size=52)

FEELINGS = {0: "negative", 1: "neutral", 2: "positive"}
ENTITIES = {0: "O", 1: "B-PER", 2: "I-PER"}


def variant(model_type, task, dtype, sizes=SIZES, max_shard_size=None, **keys):
    keys = sizes | keys
    if model_type == "distilbert":
        names = {
            "hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
        }  # fmt: skip
        keys = {names.get(key, key): value for key, value in keys.items()}
    labels = {"sequence-classification": FEELINGS, "token-classification": ENTITIES}.get(task)
    if labels:
        keys |= {"id2label": labels, "label2id": {label: index for index, label in labels.items()}}
    described = dict(model_type=model_type, task=task, dtype=dtype, config=keys)
    return described | ({"max_shard_size": max_shard_size} if max_shard_size else {})


def bert(task, dtype, **keys):
    return variant("bert", task, dtype, **keys)


def roberta(task, dtype, model_type="roberta", **keys):
    return variant(model_type, task, dtype, **({"type_vocab_size": 1, "layer_norm_eps": 1e-5} | keys))


def mpnet(task, dtype, **keys):
    return variant("mpnet", task, dtype, **keys)


def distilbert(task, dtype, **keys):
    return variant("distilbert", task, dtype, **keys)


def modernbert(task, dtype, sizes=MODERN, **keys):
    return variant("modernbert", task, dtype, sizes=sizes, **keys)


VARIANTS = {
    "bert-base": bert("base", BF16, max_shard_size="60KB"),
    "bert-masked-lm": bert("masked-lm", F16),
    "bert-sequence-classification": bert("sequence-classification", F32, sizes=SMALL),
    # Another activation.
    "bert-token-classification": bert("token-classification", BF16, hidden_act="gelu_new"),
    # An epsilon that shows.
    "bert-question-answering": bert("question-answering", F16, layer_norm_eps=1e-2),
    "roberta-base": roberta("base", F16),
    # The head's activation is gelu whatever the layers' is.
    "roberta-masked-lm": roberta("masked-lm", BF16, hidden_act="relu"),
    "roberta-sequence-classification": roberta("sequence-classification", F16, max_shard_size="60KB"),
    "roberta-token-classification": roberta("token-classification", F32, sizes=SMALL),
    # Positions count from the padding's id on.
    "roberta-question-answering": roberta("question-answering", BF16, pad_token_id=2, eos_token_id=1),
    # Rows of 75 halves, which end in the middle of a u32.
    "xlm-roberta-base": roberta("base", BF16, model_type="xlm-roberta", intermediate_size=75),
    "xlm-roberta-masked-lm": roberta("masked-lm", F16, model_type="xlm-roberta"),
    # A decoder whose tokens see each other: eight on either side in every other layer. As EmbeddingGemma is.
    "gemma3-base": variant(
        "gemma3_text", "base", BF16, num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=20, sliding_window=16,
        layer_types=["sliding_attention", "full_attention"], use_bidirectional_attention=True,
    ),
    # Scores that know distances; an epsilon that shows.
    "mpnet-base": mpnet("base", F16, layer_norm_eps=1e-2),
    "mpnet-masked-lm": mpnet("masked-lm", BF16, max_shard_size="60KB"),
    "mpnet-sequence-classification": mpnet("sequence-classification", F32, sizes=SMALL),
    "distilbert-base": distilbert("base", F32, sizes=SMALL),
    "distilbert-masked-lm": distilbert("masked-lm", BF16, activation="relu", max_shard_size="60KB"),
    # The head's activation is relu whatever the layers' is.
    "distilbert-sequence-classification": distilbert("sequence-classification", F16, intermediate_size=75),
    "distilbert-token-classification": distilbert("token-classification", BF16, activation="relu"),
    # Sines for positions, which are stored as learned ones are.
    "distilbert-question-answering": distilbert("question-answering", F16, sinusoidal_pos_embds=True),
    "modernbert-base": modernbert("base", F16),
    "modernbert-masked-lm": modernbert("masked-lm", BF16, max_shard_size="50KB", norm_eps=1e-2),
    "modernbert-sequence-classification-cls": modernbert(
        "sequence-classification", F16, classifier_pooling="cls", classifier_activation="relu"
    ),
    "modernbert-sequence-classification-mean": modernbert(
        "sequence-classification", F32, sizes=MODERN_SMALL, classifier_pooling="mean"
    ),
    # Biases wherever it can have them.
    "modernbert-token-classification": modernbert(
        "token-classification", BF16, norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True
    ),
    # Layers in no order; an odd window, which is rounded down to an even one; another activation.
    "modernbert-question-answering": modernbert(
        "question-answering", F16, hidden_activation="silu", local_attention=7,
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"],
    ),
}  # fmt: skip
