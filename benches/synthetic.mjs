// A sharded llama of about a gigabyte, as sparse files: what it computes makes no sense, what it weighs does.
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const HIDDEN = 2048;
const INTERMEDIATE = 5632;
const KV = 256;
const VOCAB = 32000;
const LAYERS = 10;
const SHARD_BYTES = 200e6;

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  torch_dtype: "bfloat16",
  hidden_act: "silu",
  hidden_size: HIDDEN,
  intermediate_size: INTERMEDIATE,
  num_hidden_layers: LAYERS,
  num_attention_heads: 16,
  num_key_value_heads: 2,
  head_dim: 128,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  tie_word_embeddings: true,
  vocab_size: VOCAB,
  bos_token_id: 1,
  eos_token_id: 2,
};

function* tensors() {
  yield ["model.embed_tokens.weight", [VOCAB, HIDDEN]];
  for (let layer = 0; layer < LAYERS; layer++) {
    const of = (name, shape) => [`model.layers.${layer}.${name}.weight`, shape];
    yield of("input_layernorm", [HIDDEN]);
    yield of("self_attn.q_proj", [HIDDEN, HIDDEN]);
    yield of("self_attn.k_proj", [KV, HIDDEN]);
    yield of("self_attn.v_proj", [KV, HIDDEN]);
    yield of("self_attn.o_proj", [HIDDEN, HIDDEN]);
    yield of("post_attention_layernorm", [HIDDEN]);
    yield of("mlp.gate_proj", [INTERMEDIATE, HIDDEN]);
    yield of("mlp.up_proj", [INTERMEDIATE, HIDDEN]);
    yield of("mlp.down_proj", [HIDDEN, INTERMEDIATE]);
  }
  yield ["model.norm.weight", [HIDDEN]];
}

const bytesOf = (shape) => 2 * shape.reduce((product, n) => product * n, 1);

/** Writes the model into a folder of its own: `{folder, bytes, remove}`. */
export async function syntheticModel() {
  const folder = await mkdtemp(join(tmpdir(), "layerline-synthetic-"));
  const shards = [[]];
  let filled = 0;
  for (const [name, shape] of tensors()) {
    if (filled > 0 && filled + bytesOf(shape) > SHARD_BYTES) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1).push([name, shape]);
    filled += bytesOf(shape);
  }
  const weight_map = {};
  let bytes = 0;
  for (const [index, shard] of shards.entries()) {
    const number = (n) => String(n).padStart(5, "0");
    const file = `model-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
    const header = { __metadata__: { format: "pt" } };
    let at = 0;
    for (const [name, shape] of shard) {
      header[name] = { dtype: "BF16", shape, data_offsets: [at, at + bytesOf(shape)] };
      at += bytesOf(shape);
      weight_map[name] = file;
    }
    const json = Buffer.from(JSON.stringify(header).padEnd(Math.ceil(JSON.stringify(header).length / 8) * 8));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const handle = await open(join(folder, file), "w");
    await handle.write(Buffer.concat([length, json]));
    await handle.truncate(8 + json.length + at);
    await handle.close();
    bytes += at;
  }
  await writeFile(join(folder, "config.json"), JSON.stringify(CONFIG));
  const index = { metadata: { total_size: bytes }, weight_map };
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
  return { folder, bytes, remove: () => rm(folder, { recursive: true, force: true }) };
}
