"""The tiny encoder-decoders of seq2seq.py: sizes, dtypes, and what each has that the others lack."""

import torch

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16

# Nothing a power of two, and nothing the same on both sides: what is read from the wrong side shows. The small ones are
# for float32, whose files are twice as large. Without forced_eos_token_id, which would end each text by its length.
SIZES = dict(
    vocab_size=131, d_model=72, encoder_attention_heads=6, encoder_ffn_dim=100, encoder_layers=2,
    decoder_attention_heads=3, decoder_ffn_dim=76, decoder_layers=3, init_std=0.2, forced_eos_token_id=None,
)  # fmt: skip
SMALL = SIZES | dict(
    d_model=48, encoder_attention_heads=4, encoder_ffn_dim=76, decoder_attention_heads=3, decoder_ffn_dim=52
)
BART = dict(
    max_position_embeddings=80, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
    num_labels=3,
)  # fmt: skip
# Fifty source positions are a hundred frames.
WHISPER = dict(
    num_mel_bins=20, max_source_positions=50, max_target_positions=40, decoder_layers=2, decoder_attention_heads=6,
    pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3, begin_suppress_tokens=None,
)  # fmt: skip
# Heads whose widths together aren't the model's; neither as many buckets nor as far as usual, so that the long input
# reaches the last one.
T5 = dict(
    vocab_size=131, d_model=72, d_kv=20, d_ff=100, num_layers=3, num_decoder_layers=2, num_heads=3,
    relative_attention_num_buckets=16, relative_attention_max_distance=30, pad_token_id=0, eos_token_id=1,
    decoder_start_token_id=0,
)  # fmt: skip
T5_SMALL = T5 | dict(d_model=48, d_kv=12, d_ff=76, num_layers=2)


def variant(model_type, dtype, sizes, max_shard_size="5GB", **keys):
    return dict(model_type=model_type, dtype=dtype, config=sizes | keys, max_shard_size=max_shard_size)


VARIANTS = {
    # Words are scaled by √d_model, positions aren't.
    "bart": variant("bart", F16, SIZES | BART, scale_embedding=True),
    "bart-f32": variant("bart", F32, SMALL | BART, scale_embedding=False),
    # In five files; as many heads on both sides; another activation.
    "bart-bf16": variant(
        "bart", BF16, SIZES | BART, max_shard_size="120KB", scale_embedding=False, decoder_attention_heads=6,
        activation_function="relu",
    ),
    # Positions are sines that no file has; no norm after the embeddings; the text begins with padding's token.
    "marian": variant(
        "marian", F16, SIZES, scale_embedding=True, activation_function="swish", share_encoder_decoder_embeddings=True,
        max_position_embeddings=80, pad_token_id=130, bos_token_id=None, eos_token_id=0, decoder_start_token_id=130,
    ),
    # Norms before instead of after, and one behind all of them.
    "mbart": variant("mbart", F16, SIZES | BART, scale_embedding=True),
    # Without a norm behind the embeddings; positions are Marian's.
    "pegasus-bf16": variant(
        "pegasus", BF16, SIZES, scale_embedding=True, activation_function="relu", max_position_embeddings=80,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    ),
    # Positions are sines of other wavelengths, counted from behind the padding's id.
    "m2m_100": variant(
        "m2m_100", F32, SMALL, max_position_embeddings=80, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=2,
    ),
    # Norms before instead of after; convolutions; keys without a bias.
    "whisper": variant("whisper", F32, SMALL | WHISPER | dict(decoder_attention_heads=3)),
    "whisper-bf16": variant("whisper", BF16, SIZES | WHISPER),
    # Scores that know distances, norms without a mean, no gate; words are scaled by 1/√d_model before the embedding.
    "t5": variant("t5", F16, T5),
    # A gate, and a head of its own, before which nothing is scaled.
    "t5-gated": variant("t5", F32, T5_SMALL, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    # In five files; as many layers on both sides, by a config that names one number; another gate.
    "mt5-bf16": variant(
        "mt5", BF16, T5, max_shard_size="130KB", num_decoder_layers=None, feed_forward_proj="gated-silu", vocab_size=133
    ),
}  # fmt: skip
