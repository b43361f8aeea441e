// Checkpoints with the shapes of well-known models and random weights, for speed alone: what they say means nothing.
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

const LLAMA = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_act: "silu",
  rms_norm_eps: 1e-5,
  attention_bias: false,
  mlp_bias: false,
  tie_word_embeddings: true,
  torch_dtype: "bfloat16",
};

/** config.json by the name that `--synthetic` knows. */
export const SHAPES = {
  "smollm2-135m": {
    ...LLAMA,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
    vocab_size: 49152,
    max_position_embeddings: 8192,
    rope_theta: 100000,
  },
  "llama-1b": {
    ...LLAMA,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: 128256,
    max_position_embeddings: 131072,
    rope_theta: 500000,
  },
  // For a load: one gigabyte.
  gigabyte: {
    ...LLAMA,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 10,
    num_attention_heads: 16,
    num_key_value_heads: 2,
    head_dim: 128,
    vocab_size: 32000,
    max_position_embeddings: 512,
    rope_theta: 10000,
  },
  // For many loads: two megabytes.
  tiny: {
    ...LLAMA,
    hidden_size: 128,
    intermediate_size: 384,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 32,
    vocab_size: 2048,
    max_position_embeddings: 512,
    rope_theta: 10000,
  },
};

const BLOCK_BYTES = 1 << 24;

/** Writes the repo of a shape into a folder of its own; `remove` takes it away. */
export async function syntheticRepo(name, shardBytes = 200e6) {
  const config = SHAPES[name];
  const path = await mkdtemp(join(tmpdir(), "layerline-synthetic-"));
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "config.json"), JSON.stringify(config));
  const shards = [[]];
  let filled = 0;
  for (const tensor of tensors(config)) {
    const bytes = tensor.shape.reduce((a, b) => a * b, 2);
    if (filled > 0 && filled + bytes > shardBytes) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1).push({ ...tensor, bytes });
    filled += bytes;
  }
  const file = (index) => {
    const number = (n) => String(n).padStart(5, "0");
    return `model-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
  };
  const weight_map = Object.fromEntries(shards.flatMap((shard, i) => shard.map((tensor) => [tensor.name, file(i)])));
  const total_size = shards.flat().reduce((sum, { bytes }) => sum + bytes, 0);
  await writeFile(join(path, "model.safetensors.index.json"), JSON.stringify({ metadata: { total_size }, weight_map }));
  const random = randomBf16();
  for (const [index, shard] of shards.entries()) {
    await pipeline(safetensors(shard, random, index), createWriteStream(join(path, file(index))));
  }
  return { path, config, bytes: total_size, remove: () => rm(path, { recursive: true, force: true }) };
}

function* tensors(config) {
  const { hidden_size: hidden, intermediate_size: wide, head_dim } = config;
  const q = config.num_attention_heads * head_dim;
  const kv = config.num_key_value_heads * head_dim;
  yield { name: "model.embed_tokens.weight", shape: [config.vocab_size, hidden] };
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const of = (module, ...shape) => ({ name: `model.layers.${layer}.${module}.weight`, shape });
    yield of("input_layernorm", hidden);
    yield of("self_attn.q_proj", q, hidden);
    yield of("self_attn.k_proj", kv, hidden);
    yield of("self_attn.v_proj", kv, hidden);
    yield of("self_attn.o_proj", hidden, q);
    yield of("post_attention_layernorm", hidden);
    yield of("mlp.gate_proj", wide, hidden);
    yield of("mlp.up_proj", wide, hidden);
    yield of("mlp.down_proj", hidden, wide);
  }
  yield { name: "model.norm.weight", shape: [hidden] };
}

/** Of either sign, between 2^-9 and 2^-5: sums over thousands of them stay in every format's range. */
function randomBf16() {
  return new Uint16Array(BLOCK_BYTES / 2).map(() => {
    const bits = Math.random() * 0x10000;
    return (bits & 0x807f) | ((118 + ((bits >> 8) & 3)) << 7);
  });
}

/** A file whose data is the random bytes again and again, from another place in each shard. */
async function* safetensors(shard, random, index) {
  let at = 0;
  const header = {};
  for (const { name, shape, bytes } of shard) {
    header[name] = { dtype: "BF16", shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  yield Buffer.concat([length, text]);
  const block = new Uint8Array(random.buffer);
  let from = (index * 0x123450) % block.length;
  for (let left = at; left > 0; ) {
    const piece = block.subarray(from, from + left);
    yield piece;
    left -= piece.length;
    from = 0;
  }
}
