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
    # Norms before instead of after; convolutions; keys without a bias.
    "whisper": variant("whisper", F32, SMALL | WHISPER | dict(decoder_attention_heads=3)),
    "whisper-bf16": variant("whisper", BF16, SIZES | WHISPER),
}  # fmt: skip
