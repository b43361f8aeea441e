/** Keys of a config that options of `from_pretrained` can replace. */
export interface ConfigOverrides {
  vocab_size?: number;
  hidden_size?: number;
  intermediate_size?: number;
  num_hidden_layers?: number;
  num_attention_heads?: number;
  num_key_value_heads?: number;
  head_dim?: number;
  max_position_embeddings?: number;
  rms_norm_eps?: number;
  hidden_act?: string;
  rope_theta?: number;
  rope_scaling?: Record<string, unknown> | null;
  rope_parameters?: Record<string, unknown>;
  tie_word_embeddings?: boolean;
  attention_bias?: boolean;
  mlp_bias?: boolean;
  initializer_range?: number;
  bos_token_id?: number | null;
  eos_token_id?: number | number[] | null;
  pad_token_id?: number | null;
  sliding_window?: number | null;
  layer_types?: ("full_attention" | "sliding_attention" | "conv")[];
  hidden_activation?: string;
  partial_rotary_factor?: number;
  rope_local_base_freq?: number;
  original_max_position_embeddings?: number;
  use_sliding_window?: boolean;
  max_window_layers?: number;
  no_rope_layers?: (0 | 1)[];
  no_rope_layer_interval?: number;
  query_pre_attn_scalar?: number;
  use_bidirectional_attention?: boolean;
  attn_logit_softcapping?: number | null;
  final_logit_softcapping?: number | null;
  sliding_window_pattern?: number;
  n_embd?: number;
  n_positions?: number;
  n_head?: number;
  n_layer?: number;
  n_inner?: number | null;
  layer_norm_epsilon?: number;
  activation_function?: string;
  scale_attn_weights?: boolean;
  scale_attn_by_inverse_layer_idx?: boolean;
  reorder_and_upcast_attn?: boolean;
  add_cross_attention?: boolean;
  layer_norm_eps?: number;
  rotary_pct?: number;
  rotary_emb_base?: number;
  use_parallel_residual?: boolean;
  sep_token_id?: number | null;
  num_labels?: number;
  id2label?: Record<string | number, string>;
  label2id?: Record<string, number>;
  problem_type?: "regression" | "single_label_classification" | "multi_label_classification" | null;
  type_vocab_size?: number;
  position_embedding_type?: "absolute";
  is_decoder?: boolean;
  dim?: number;
  hidden_dim?: number;
  n_heads?: number;
  n_layers?: number;
  activation?: string;
  sinusoidal_pos_embds?: boolean;
  norm_eps?: number;
  norm_bias?: boolean;
  global_rope_theta?: number;
  local_rope_theta?: number | null;
  local_attention?: number;
  global_attn_every_n_layers?: number;
  classifier_pooling?: "cls" | "mean";
  classifier_bias?: boolean;
  classifier_activation?: string;
  decoder_bias?: boolean;
  d_model?: number;
  d_kv?: number;
  d_ff?: number;
  num_layers?: number;
  num_decoder_layers?: number | null;
  num_heads?: number;
  relative_attention_num_buckets?: number;
  relative_attention_max_distance?: number;
  initializer_factor?: number;
  feed_forward_proj?: string;
  scale_decoder_outputs?: boolean;
  encoder_layers?: number;
  decoder_layers?: number;
  encoder_attention_heads?: number;
  decoder_attention_heads?: number;
  encoder_ffn_dim?: number;
  decoder_ffn_dim?: number;
  decoder_vocab_size?: number;
  max_source_positions?: number;
  max_target_positions?: number;
  num_mel_bins?: number;
  init_std?: number;
  decoder_start_token_id?: number;
  forced_eos_token_id?: number | number[] | null;
  scale_embedding?: boolean;
  share_encoder_decoder_embeddings?: boolean;
  image_size?: number | [height: number, width: number];
  patch_size?: number | [height: number, width: number];
  num_channels?: number;
  qkv_bias?: boolean;
  pooler_act?: string;
  pooler_output_size?: number;
  projection_dim?: number;
  num_experts?: number;
  num_local_experts?: number;
  num_experts_per_tok?: number;
  moe_intermediate_size?: number;
  norm_topk_prob?: boolean;
  decoder_sparse_step?: number;
  mlp_only_layers?: number[];
  clip_qkv?: null;
  attention_types?: [pattern: ("global" | "local")[], times: number][];
  window_size?: number;
  ffn_dim?: number;
  do_layer_norm_before?: boolean;
  _remove_final_layer_norm?: boolean;
  word_embed_proj_dim?: number;
  enable_bias?: boolean;
  layer_norm_elementwise_affine?: true;
  qk_layernorm?: false;
  norm_epsilon?: number;
  use_bias?: boolean;
  use_qkv_bias?: boolean;
  conv_bias?: boolean;
  conv_L_cache?: number;
  full_attn_idxs?: number[] | null;
  tie_embedding?: boolean;
  block_ff_dim?: number;
  block_auto_adjust_ff_dim?: boolean;
  block_ffn_dim_multiplier?: number | null;
  block_multiple_of?: number;
  shared_intermediate_size?: number;
  logit_scale?: number;
  use_qk_norm?: false;
  attention_out_bias?: boolean;
  embedding_multiplier?: number;
  attention_multiplier?: number;
  residual_multiplier?: number;
  logits_scaling?: number;
  text_config?: Record<string, unknown>;
  vision_config?: Record<string, unknown>;
}

/** The keys of {@link ConfigOverrides}; the compiler checks that none is missing. */
export const OVERRIDES: Record<keyof ConfigOverrides, true> = {
  vocab_size: true,
  hidden_size: true,
  intermediate_size: true,
  num_hidden_layers: true,
  num_attention_heads: true,
  num_key_value_heads: true,
  head_dim: true,
  max_position_embeddings: true,
  rms_norm_eps: true,
  hidden_act: true,
  rope_theta: true,
  rope_scaling: true,
  rope_parameters: true,
  tie_word_embeddings: true,
  attention_bias: true,
  mlp_bias: true,
  initializer_range: true,
  bos_token_id: true,
  eos_token_id: true,
  pad_token_id: true,
  sliding_window: true,
  layer_types: true,
  hidden_activation: true,
  partial_rotary_factor: true,
  rope_local_base_freq: true,
  original_max_position_embeddings: true,
  use_sliding_window: true,
  max_window_layers: true,
  no_rope_layers: true,
  no_rope_layer_interval: true,
  query_pre_attn_scalar: true,
  use_bidirectional_attention: true,
  attn_logit_softcapping: true,
  final_logit_softcapping: true,
  sliding_window_pattern: true,
  n_embd: true,
  n_positions: true,
  n_head: true,
  n_layer: true,
  n_inner: true,
  layer_norm_epsilon: true,
  activation_function: true,
  scale_attn_weights: true,
  scale_attn_by_inverse_layer_idx: true,
  reorder_and_upcast_attn: true,
  add_cross_attention: true,
  layer_norm_eps: true,
  rotary_pct: true,
  rotary_emb_base: true,
  use_parallel_residual: true,
  sep_token_id: true,
  num_labels: true,
  id2label: true,
  label2id: true,
  problem_type: true,
  type_vocab_size: true,
  position_embedding_type: true,
  is_decoder: true,
  dim: true,
  hidden_dim: true,
  n_heads: true,
  n_layers: true,
  activation: true,
  sinusoidal_pos_embds: true,
  norm_eps: true,
  norm_bias: true,
  global_rope_theta: true,
  local_rope_theta: true,
  local_attention: true,
  global_attn_every_n_layers: true,
  classifier_pooling: true,
  classifier_bias: true,
  classifier_activation: true,
  decoder_bias: true,
  d_model: true,
  d_kv: true,
  d_ff: true,
  num_layers: true,
  num_decoder_layers: true,
  num_heads: true,
  relative_attention_num_buckets: true,
  relative_attention_max_distance: true,
  initializer_factor: true,
  feed_forward_proj: true,
  scale_decoder_outputs: true,
  encoder_layers: true,
  decoder_layers: true,
  encoder_attention_heads: true,
  decoder_attention_heads: true,
  encoder_ffn_dim: true,
  decoder_ffn_dim: true,
  decoder_vocab_size: true,
  max_source_positions: true,
  max_target_positions: true,
  num_mel_bins: true,
  init_std: true,
  decoder_start_token_id: true,
  forced_eos_token_id: true,
  scale_embedding: true,
  share_encoder_decoder_embeddings: true,
  image_size: true,
  patch_size: true,
  num_channels: true,
  qkv_bias: true,
  pooler_act: true,
  pooler_output_size: true,
  projection_dim: true,
  num_experts: true,
  num_local_experts: true,
  num_experts_per_tok: true,
  moe_intermediate_size: true,
  norm_topk_prob: true,
  decoder_sparse_step: true,
  mlp_only_layers: true,
  clip_qkv: true,
  attention_types: true,
  window_size: true,
  ffn_dim: true,
  do_layer_norm_before: true,
  _remove_final_layer_norm: true,
  word_embed_proj_dim: true,
  enable_bias: true,
  layer_norm_elementwise_affine: true,
  qk_layernorm: true,
  norm_epsilon: true,
  use_bias: true,
  use_qkv_bias: true,
  conv_bias: true,
  conv_L_cache: true,
  full_attn_idxs: true,
  tie_embedding: true,
  block_ff_dim: true,
  block_auto_adjust_ff_dim: true,
  block_ffn_dim_multiplier: true,
  block_multiple_of: true,
  shared_intermediate_size: true,
  logit_scale: true,
  use_qk_norm: true,
  attention_out_bias: true,
  embedding_multiplier: true,
  attention_multiplier: true,
  residual_multiplier: true,
  logits_scaling: true,
  text_config: true,
  vision_config: true,
};
