"""Tiny checkpoints of each family, each with what torch computes from it."""

import json
import math
import shutil

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from measure import error, greedy, line, logits_of, number, numbers, write_json

NEW_TOKENS = 16
HIDDEN_STATES = (
    " hidden_states: of the last token, the embeddings and what each layer gives, the last one's after the norm behind it;"
    " hidden_states_f16_error: how far each is off by model.half() at most."
)

COMMON = dict(initializer_range=0.2, max_position_embeddings=256)
VARIANTS = {
    # Nothing a power of two; tied head; f32.
    "llama-f32": dict(
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=200, num_hidden_layers=3,
            num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=True,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.float32,
    ),
    # Biases everywhere; a head of its own; llama3 rope whose three bands all occur; bf16; shards.
    "llama-bf16-bias": dict(
        config=dict(
            vocab_size=120, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
        ),
        rope=dict(
            rope_type="llama3", rope_theta=10_000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
        dtype=torch.bfloat16,
        max_shard_size="40KB",
    ),
    # head_dim that isn't hidden / heads; rows of 75 halves, which end in the middle of a u32; f16; shards.
    "llama-f16": dict(
        config=dict(
            vocab_size=97, hidden_size=48, intermediate_size=75, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=20, tie_word_embeddings=True, rms_norm_eps=1e-5,
        ),
        rope=dict(rope_type="linear", rope_theta=10_000.0, factor=4.0),
        dtype=torch.float16,
        max_shard_size="30KB",
    ),
    # No grouping of heads; yarn, with its attention factor.
    "llama-yarn": dict(
        config=dict(
            vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, tie_word_embeddings=True, rms_norm_eps=1e-4,
        ),
        rope=dict(rope_type="yarn", rope_theta=10_000.0, factor=4.0, original_max_position_embeddings=64),
        dtype=torch.bfloat16,
    ),
    # Dynamic NTK: plain up to max_position_embeddings; beyond it each forward pass takes its base from the length so
    # far, and keys in the cache keep the base that they were made with.
    "llama-dynamic": dict(
        config=dict(
            vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, tie_word_embeddings=False, rms_norm_eps=1e-6, max_position_embeddings=48,
        ),
        rope=dict(rope_type="dynamic", rope_theta=10_000.0, factor=2.0),
        dtype=torch.bfloat16,
    ),
    # Rows long enough that quanto cuts them into groups, where it rounds them.
    "llama-wide": dict(
        config=dict(
            vocab_size=100, hidden_size=64, intermediate_size=192, num_hidden_layers=1, num_attention_heads=4,
            num_key_value_heads=2, tie_word_embeddings=True,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # Biases on q, k and v alone; GQA 6/2; shards.
    "qwen2": dict(
        model_type="qwen2",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, tie_word_embeddings=True,
        ),
        rope=dict(rope_type="default", rope_theta=1_000_000.0),
        dtype=torch.bfloat16,
        max_shard_size="60KB",
    ),
    # q, k and v in one tensor, gate and up in another; longrope, whose factors change beyond 64 positions.
    "phi3": dict(
        model_type="phi3",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, tie_word_embeddings=False, original_max_position_embeddings=64, pad_token_id=0,
        ),
        rope=dict(
            rope_type="longrope", rope_theta=10_000.0, short_factor=[1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
            long_factor=[1.5, 2.0, 2.5, 3.0, 3.5, 4.0], original_max_position_embeddings=64,
        ),
        dtype=torch.float16,
    ),
    # Windows of 16 positions, which the long prompt goes beyond, from the second layer on.
    "qwen2-windows": dict(
        model_type="qwen2",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=3, num_attention_heads=6,
            num_key_value_heads=2, tie_word_embeddings=True, use_sliding_window=True, sliding_window=16,
            max_window_layers=1,
        ),
        rope=dict(rope_type="default", rope_theta=1_000_000.0),
        dtype=torch.float16,
    ),
    # Half of each head rotated; windows.
    "phi3-partial": dict(
        model_type="phi3",
        config=dict(
            vocab_size=131, hidden_size=96, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, tie_word_embeddings=False, original_max_position_embeddings=64, pad_token_id=0,
            sliding_window=16, eos_token_id=2,
        ),
        rope=dict(
            rope_type="longrope", rope_theta=10_000.0, partial_rotary_factor=0.5, short_factor=[1.0, 1.1, 1.2, 1.3],
            long_factor=[1.5, 2.0, 2.5, 3.0], original_max_position_embeddings=64,
        ),
        dtype=torch.bfloat16,
    ),
    # Windows in all layers; head_dim that isn't hidden / heads.
    "mistral": dict(
        model_type="mistral",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, head_dim=24, sliding_window=16, tie_word_embeddings=False,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # Each head of q and k normalised; head_dim that isn't hidden / heads.
    "qwen3": dict(
        model_type="qwen3",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
        ),
        rope=dict(rope_type="default", rope_theta=1_000_000.0),
        dtype=torch.float16,
    ),
    # With and without positions, each with and without a window.
    "smollm3": dict(
        model_type="smollm3",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=4, num_attention_heads=9,
            num_key_value_heads=3, tie_word_embeddings=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            no_rope_layers=[1, 0, 1, 0], sliding_window=16,
            layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
        ),
        rope=dict(rope_type="default", rope_theta=2_000_000.0),
        dtype=torch.bfloat16,
    ),
    # Norms after attention and feed-forward, none before; q and k normalised over all heads; biases.
    "olmo2": dict(
        model_type="olmo2",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=9,
            num_key_value_heads=3, attention_bias=True, tie_word_embeddings=False, eos_token_id=2,
        ),
        rope=dict(rope_type="default", rope_theta=500_000.0),
        dtype=torch.float32,
    ),
    # Norms on both sides, weights that count from 1, scaled embeddings, soft caps on scores and logits, windows in
    # every other layer.
    "gemma2": dict(
        model_type="gemma2",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, head_dim=24, query_pre_attn_scalar=20, sliding_window=16, tie_word_embeddings=False,
            attn_logit_softcapping=4.0, final_logit_softcapping=12.0,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # The same without caps (whatever it says of scores), q and k normalised, and a rope of its own for the layers with a
    # window.
    "gemma3": dict(
        model_type="gemma3_text",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=3, num_attention_heads=6,
            num_key_value_heads=2, head_dim=24, query_pre_attn_scalar=20, sliding_window=16, tie_word_embeddings=False,
            attn_logit_softcapping=0.5,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        rope=dict(
            sliding_attention=dict(rope_type="default", rope_theta=10_000.0),
            full_attention=dict(rope_type="linear", rope_theta=1_000_000.0, factor=8.0),
        ),
        dtype=torch.bfloat16,
    ),
    # Weights of norms that count from 1, scaled embeddings, head_dim that isn't hidden / heads, one key head.
    "gemma": dict(
        model_type="gemma",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=1, head_dim=20,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # Multipliers of embeddings, scores, what layers add, and logits.
    "granite": dict(
        model_type="granite",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=3, num_attention_heads=6,
            num_key_value_heads=2, tie_word_embeddings=True, embedding_multiplier=1.5, attention_multiplier=0.25,
            residual_multiplier=1.25, logits_scaling=0.5,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # Learned positions, windows in every other layer, scores without a scale, biases but for q, k and v.
    "gpt_neo": dict(
        model_type="gpt_neo",
        config=dict(
            vocab_size=131, hidden_size=72, num_layers=4, num_heads=6, attention_types=[[["global", "local"], 2]],
            window_size=16, max_position_embeddings=96, bos_token_id=0, eos_token_id=0,
        ),
        dtype=torch.float16,
    ),
    # Learned positions from the third row on; ReLU.
    "opt": dict(
        model_type="opt",
        config=dict(
            vocab_size=131, hidden_size=72, ffn_dim=100, num_hidden_layers=2, num_attention_heads=6,
            word_embed_proj_dim=72, max_position_embeddings=96,
        ),
        dtype=torch.float16,
        max_shard_size="60KB",
    ),
    # Norms behind attention and feed-forward layer, and none at the end; a head of its own; no biases.
    "opt-behind": dict(
        model_type="opt",
        config=dict(
            vocab_size=97, hidden_size=40, ffn_dim=75, num_hidden_layers=3, num_attention_heads=2,
            word_embed_proj_dim=40, max_position_embeddings=96, do_layer_norm_before=False, enable_bias=False,
            tie_word_embeddings=False, activation_function="gelu",
        ),
        dtype=torch.bfloat16,
    ),
    # Attention and feed-forward layer beside each other behind one norm; half of each head rotated; biases, in the head too.
    "phi": dict(
        model_type="phi",
        config=dict(
            vocab_size=131, hidden_size=96, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0, partial_rotary_factor=0.5),
        dtype=torch.float16,
    ),
    # LayerNorm, windows and angles together; no gate; biases; tied.
    "starcoder2": dict(
        model_type="starcoder2",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, sliding_window=16, bos_token_id=0, eos_token_id=0,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # LayerNorm and a gate; a quarter of each head rotated; biases on q, k and v alone.
    "stablelm": dict(
        model_type="stablelm",
        config=dict(
            vocab_size=131, hidden_size=96, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, use_qkv_bias=True,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0, partial_rotary_factor=0.25),
        dtype=torch.bfloat16,
    ),
    # Attention and a gated layer beside each other behind one norm.
    "stablelm-parallel": dict(
        model_type="stablelm",
        config=dict(
            vocab_size=97, hidden_size=48, intermediate_size=75, num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=3, use_parallel_residual=True, tie_word_embeddings=True,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0, partial_rotary_factor=0.5),
        dtype=torch.float16,
    ),
    # The same within a model that reads images too.
    "gemma3-images": dict(
        model_type="gemma3",
        config=dict(
            text_config=COMMON | dict(
                vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
                num_key_value_heads=2, head_dim=24, query_pre_attn_scalar=20, sliding_window=16,
                layer_types=["sliding_attention", "full_attention"], tie_word_embeddings=False,
            ),
            tie_word_embeddings=False,
            vision_config=dict(
                hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                patch_size=14,
            ),
            mm_tokens_per_image=4,
        ),
        dtype=torch.bfloat16,
        max_shard_size="60KB",
    ),
    # Experts in every other layer, two of five for each token, whose weights sum up to one; each head of q and k normalised;
    # shards.
    "qwen3_moe": dict(
        model_type="qwen3_moe",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, moe_intermediate_size=52, num_hidden_layers=4,
            num_attention_heads=6, num_key_value_heads=2, head_dim=16, num_experts=5, num_experts_per_tok=2,
            norm_topk_prob=True, decoder_sparse_step=2, tie_word_embeddings=True,
        ),
        rope=dict(rope_type="default", rope_theta=1_000_000.0),
        dtype=torch.bfloat16,
        max_shard_size="100KB",
    ),
    # Experts in all layers but one that is named, whose weights are as the router has them; biases; rows of 75 halves.
    "qwen3_moe-plain": dict(
        model_type="qwen3_moe",
        config=dict(
            vocab_size=97, hidden_size=50, intermediate_size=75, moe_intermediate_size=75, num_hidden_layers=3,
            num_attention_heads=5, num_key_value_heads=1, head_dim=12, num_experts=3, num_experts_per_tok=1,
            norm_topk_prob=False, mlp_only_layers=[1], attention_bias=True, tie_word_embeddings=False,
            use_sliding_window=True, sliding_window=16,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.float16,
    ),
    # Experts in all layers; q and k normalised over all heads.
    "olmoe": dict(
        model_type="olmoe",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=36, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, num_experts=7, num_experts_per_tok=3, tie_word_embeddings=False, eos_token_id=2,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # Experts in all layers, by names of their own.
    "mixtral": dict(
        model_type="mixtral",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=60, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, num_local_experts=5, num_experts_per_tok=2, tie_word_embeddings=False,
        ),
        rope=dict(rope_type="default", rope_theta=1_000_000.0),
        dtype=torch.float16,
        max_shard_size="150KB",
    ),
    # Convolutions over three tokens, and attention in one layer; a feed-forward layer of a width that is adjusted; tied.
    "lfm2": dict(
        model_type="lfm2",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=150, num_hidden_layers=4, num_attention_heads=6,
            num_key_value_heads=2, layer_types=["conv", "conv", "full_attention", "conv"], block_multiple_of=16,
        ),
        rope=dict(rope_type="default", rope_theta=1_000_000.0),
        dtype=torch.bfloat16,
        max_shard_size="60KB",
    ),
    # Over four, with biases; a head of its own.
    "lfm2-bias": dict(
        model_type="lfm2",
        config=dict(
            vocab_size=97, hidden_size=40, intermediate_size=75, num_hidden_layers=3, num_attention_heads=2,
            num_key_value_heads=2, full_attn_idxs=[1], conv_bias=True, conv_L_cache=4, block_auto_adjust_ff_dim=False,
            tie_word_embeddings=False,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.float16,
    ),
    # Granite 4 without experts and Mamba's layers: gate and up in one tensor; numbers that multiply; tied.
    "granitemoehybrid": dict(
        model_type="granitemoehybrid",
        config=dict(
            vocab_size=131, hidden_size=72, shared_intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, layer_types=["full_attention", "full_attention"], num_local_experts=0,
            num_experts_per_tok=0, position_embedding_type="rope", mamba_n_heads=8, tie_word_embeddings=True,
            embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.6, logits_scaling=2.0,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # The same without positions.
    "granitemoehybrid-nope": dict(
        model_type="granitemoehybrid",
        config=dict(
            vocab_size=97, hidden_size=48, shared_intermediate_size=75, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, layer_types=["full_attention", "full_attention"], num_local_experts=0,
            num_experts_per_tok=0, mamba_n_heads=8, attention_multiplier=0.3,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.float16,
    ),
    # Each element of a head turned with its neighbour; head_dim that isn't hidden / heads; biases everywhere; tied.
    "ernie4_5": dict(
        model_type="ernie4_5",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, head_dim=20, use_bias=True, tie_word_embeddings=True,
        ),
        rope=dict(rope_type="default", rope_theta=500_000.0),
        dtype=torch.bfloat16,
    ),
    # The same, with biases on q, k and v alone.
    "helium": dict(
        model_type="helium",
        config=dict(
            vocab_size=97, hidden_size=48, intermediate_size=75, num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=1, head_dim=16, attention_bias=True,
        ),
        rope=dict(rope_type="default", rope_theta=100_000.0),
        dtype=torch.float16,
    ),
    # The same of half of each head; gate and up in one tensor.
    "glm": dict(
        model_type="glm",
        config=dict(
            vocab_size=131, hidden_size=64, intermediate_size=100, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, eos_token_id=[2, 3], pad_token_id=2,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0, partial_rotary_factor=0.5),
        dtype=torch.bfloat16,
        max_shard_size="60KB",
    ),
    # The same with norms behind both halves of a layer.
    "glm4": dict(
        model_type="glm4",
        config=dict(
            vocab_size=97, hidden_size=48, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=24, eos_token_id=2, pad_token_id=2, attention_bias=False,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0, partial_rotary_factor=0.5),
        dtype=torch.float16,
    ),
    # Attention and a gated layer behind one LayerNorm without a bias; logits that are scaled; neighbours turned.
    "cohere": dict(
        model_type="cohere",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, attention_bias=True, logit_scale=0.25, bos_token_id=1, eos_token_id=2,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # The same, where layers with a window alone know positions.
    "cohere2": dict(
        model_type="cohere2",
        config=dict(
            vocab_size=97, hidden_size=48, intermediate_size=75, num_hidden_layers=3, num_attention_heads=3,
            num_key_value_heads=1, sliding_window=16, bos_token_id=1, eos_token_id=2,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.float16,
    ),
    # Norms behind both halves of a layer, and of each head of q and k; layers with a window alone know positions.
    "exaone4": dict(
        model_type="exaone4",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=3, num_attention_heads=6,
            num_key_value_heads=2, sliding_window=16, sliding_window_pattern=2, tie_word_embeddings=True,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # Layers with a window and without have ropes of their own, one of which is scaled.
    "olmo3": dict(
        model_type="olmo3",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, sliding_window=16, layer_types=["sliding_attention", "full_attention"], eos_token_id=2,
        ),
        rope=dict(
            sliding_attention=dict(rope_type="default", rope_theta=500_000.0),
            full_attention=dict(rope_type="linear", rope_theta=500_000.0, factor=4.0),
        ),
        dtype=torch.float16,
    ),
    # A squared relu without a gate; biases in the feed-forward layer.
    "arcee": dict(
        model_type="arcee",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, mlp_bias=True, bos_token_id=1, eos_token_id=2,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.bfloat16,
    ),
    # Biases on q, k, v and o by keys of their own; head_dim that isn't hidden / heads.
    "seed_oss": dict(
        model_type="seed_oss",
        config=dict(
            vocab_size=97, hidden_size=48, intermediate_size=75, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=20, attention_out_bias=True,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0),
        dtype=torch.float16,
    ),
    # Learned positions, of which there are few; LayerNorm with biases; weights that are stored transposed; no gate; tied.
    "gpt2": dict(
        model_type="gpt2",
        config=dict(
            vocab_size=131, n_embd=72, n_layer=2, n_head=6, n_positions=96, bos_token_id=0, eos_token_id=0,
        ),
        dtype=torch.float16,
        max_shard_size="60KB",
    ),
    # Rows of 75 halves; scores scaled by the layer; another activation; a head of its own.
    "gpt2-relu": dict(
        model_type="gpt2",
        config=dict(
            vocab_size=97, n_embd=40, n_layer=3, n_head=2, n_inner=75, n_positions=96, activation_function="relu",
            scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True, tie_word_embeddings=False,
            layer_norm_epsilon=1e-4, bos_token_id=0, eos_token_id=0,
        ),
        dtype=torch.bfloat16,
    ),
    # q, k and v of each head together; a quarter of each head rotated; attention and feed-forward side by side.
    "gpt_neox": dict(
        model_type="gpt_neox",
        config=dict(
            vocab_size=131, hidden_size=64, intermediate_size=100, num_hidden_layers=2, num_attention_heads=2,
            eos_token_id=0,
        ),
        rope=dict(rope_type="default", rope_theta=10_000.0, partial_rotary_factor=0.25),
        dtype=torch.float16,
        max_shard_size="50KB",
    ),
    # One after the other; half of each head rotated, with a rotary scaling; no biases in attention; tied.
    "gpt_neox-sequential": dict(
        model_type="gpt_neox",
        config=dict(
            vocab_size=131, hidden_size=72, intermediate_size=100, num_hidden_layers=2, num_attention_heads=3,
            use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True, hidden_act="gelu_new",
            layer_norm_eps=1e-4, eos_token_id=0,
        ),
        rope=dict(rope_type="linear", rope_theta=10_000.0, factor=4.0, partial_rotary_factor=0.5),
        dtype=torch.bfloat16,
    ),
}  # fmt: skip


def generate(folder, names=VARIANTS):
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        write_variant(folder / name, VARIANTS[name])
        print(f"tiny/{name}", flush=True)


def write_variant(folder, variant):
    model_type = variant.get("model_type", "llama")
    keys = COMMON | variant["config"] | ({"rope_parameters": variant["rope"]} if "rope" in variant else {})
    if "n_positions" in keys:
        del keys["max_position_embeddings"]
    config = AutoConfig.for_model(model_type, **keys)
    text = config.get_text_config()
    inputs = {"short": random_ids(5, text.vocab_size, 5), "long": random_ids(70, text.vocab_size, 70)}
    for seed in range(1000):
        stored = random_model(config, seed).to(variant["dtype"])
        model = reloaded(stored, torch.float32)
        half = reloaded(stored, torch.float16)
        cases = {name: measure(model, half, ids) for name, ids in inputs.items()}
        telling = all(is_telling(case, text.eos_token_id) for case in cases.values())
        if telling and all(routes_alike(model, half, ids + cases[name]["greedy"]) for name, ids in inputs.items()):
            break
    else:
        raise SystemExit(f"{folder.name}: no seed gives tokens that f16 can't change")

    stored.save_pretrained(folder, max_shard_size=variant.get("max_shard_size", "5GB"))
    assert_same_logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), model, inputs)
    if model_type == "llama":
        write_v4_config(folder)
    write_json(
        folder / "golden.json",
        {
            "seed": seed,
            "about": "torch float32 on these weights: logits at `positions` of each input, and its greedy new ids, none"
            " of them EOS. f16_error: the same logits by model.half(). min_margin: the least by which a greedy token"
            " beat the second best."
            + (HIDDEN_STATES if routes(config) else ""),
            "inputs": written(inputs, cases, lambda ids: hidden_states(model, half, ids) if routes(config) else {}),
        },
    )


def written(inputs, cases, more=lambda ids: {}):
    """The inputs with what was measured of each, and more."""
    return [
        {
            "name": name,
            "input_ids": line(ids),
            "positions": line(positions(ids)),
            "logits": [line(numbers(row)) for row in cases[name]["logits"]],
            "f16_error": cases[name]["f16_error"],
            **more(ids),
            "greedy": line(cases[name]["greedy"]),
            "min_margin": number(cases[name]["min_margin"]),
        }
        for name, ids in inputs.items()
    ]


def random_ids(count, vocab, seed):
    return torch.randint(3, vocab, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def random_model(config, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    # What initialisation leaves at 0 or 1 would hide a bias or a norm's weight that is never read.
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(0, 0.2)
        elif "norm" in name or "ln_" in name:
            parameter.normal_(0 if config.model_type.startswith("gemma") else 1, 0.2)
    return model


def reloaded(stored, dtype):
    model = AutoModelForCausalLM.from_config(stored.config).to(dtype).eval()
    model.load_state_dict(stored.state_dict())
    return fresh(model)


def fresh(model):
    """The model as if just loaded: rotary frequencies in float32 whatever the weights' dtype, and, since the dynamic
    kind remembers the longest input so far, none remembered. Experts one after the other: all at once want wider rows."""
    if model._can_set_experts_implementation():
        model.set_experts_implementation("eager")
    base = model.base_model
    if hasattr(base, "rotary_emb"):
        base.rotary_emb = base.rotary_emb and type(base.rotary_emb)(model.config)
    return model


def positions(ids):
    return list(range(len(ids))) if len(ids) < 10 else [len(ids) - 1]


def measure(model, half, ids):
    new_ids, margins = greedy(fresh(model), ids, NEW_TOKENS)
    logits = logits_of(fresh(model), ids)[positions(ids)]
    return {
        "logits": logits,
        "greedy": new_ids,
        "min_margin": min(margins),
        "f16_error": error(logits_of(fresh(half), ids)[positions(ids)], logits),
    }


def is_telling(case, eos):
    varied = len(set(case["greedy"])) >= NEW_TOKENS // 2
    return varied and eos not in case["greedy"] and case["min_margin"] > 3 * case["f16_error"]["max_abs"]


def hidden_states(model, half, ids):
    """The last token's, and how far f16 is off in each of them."""
    exact, rounded = ([state[0, -1].float() for state in states_of(one, ids)] for one in (model, half))
    off = [error(got, expected)["max_abs"] for got, expected in zip(rounded, exact)]
    return {"hidden_states": [line(numbers(state)) for state in exact], "hidden_states_f16_error": line(off)}


def states_of(model, ids):
    return fresh(model)(torch.tensor([ids]), output_hidden_states=True).hidden_states


def routes(config):
    """Whether it is a mixture of experts."""
    return bool(getattr(config, "num_experts_per_tok", 0))


def routes_alike(model, half, ids):
    """Whether f16 can't send a token to other experts, which would compute something else altogether."""
    if not routes(model.config):
        return True
    routed, most = model.config.num_experts_per_tok, 0
    least = math.inf
    for exact, rounded in zip(*(router_logits(one, ids) for one in (model, half))):
        best = exact.topk(routed + 1, dim=-1).values
        least = min(least, (best[:, -2] - best[:, -1]).min().item())
        most = max(most, (exact - rounded).abs().max().item())
    return least > most


def router_logits(model, ids):
    """Of each layer with experts, [len(ids), experts] in float32."""
    return [logits.float() for logits in fresh(model)(torch.tensor([ids]), output_router_logits=True).router_logits]


def write_v4_config(folder):
    """The same model as transformers 4 writes it: rope at the top level, torch_dtype. Linear takes the oldest key, `type`."""
    config = json.loads((folder / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    if rope["rope_type"] == "linear":
        rope["type"] = rope.pop("rope_type")
    config["rope_scaling"] = None if rope.get("rope_type") == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.57.0"
    (folder / "config.v4.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    read = LlamaConfig.from_dict(config).to_dict()
    written = LlamaConfig.from_pretrained(folder).to_dict()
    read["rope_parameters"].pop("type", None)
    for key in written:
        if key != "transformers_version" and read[key] != written[key]:
            raise SystemExit(f"{folder.name}: config.v4.json reads as {key}={read[key]}, not {written[key]}")


def assert_same_logits(saved, model, inputs):
    for ids in inputs.values():
        if not torch.equal(logits_of(fresh(saved), ids), logits_of(fresh(model), ids)):
            raise SystemExit("the saved checkpoint computes something else")
