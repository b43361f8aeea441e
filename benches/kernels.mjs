// Single kernels as cases for kernelRates, each with the bytes or the floating-point operations that it can't do without.
import { STORAGES, wgsl } from "./wgsl.mjs";

/** y = W·x. `rows` and `cols` are W's; `form` says how the kernel is cut. */
export function vectorCase(storage, [rows, cols], form, fused = {}) {
  const { workgroup, lanes, together, octets, reduction = "subgroup" } = form;
  const { norm = false, gated = false, add = false } = fused;
  const { bytes } = STORAGES[storage];
  const constants = {
    WORKGROUP: workgroup,
    LANES: lanes,
    ROWS: together,
    NORM: norm,
    GATED: gated,
    ACTIVATED: false,
    ACTIVATION: 0,
    BIAS: false,
    ADD: add,
  };
  // Octets are words of two, whatever reads them.
  const read = octets && storage.startsWith("float16") ? "float16 (packed)" : storage;
  const outputs = gated ? rows / 2 : rows;
  const pieces = cols / (octets ? 8 : 4);
  const perGroup = (workgroup / lanes) * (gated ? together / 2 : together);
  const x = { scratch: cols * 4, of: "x" };
  return {
    code:
      form.code?.(read, constants, reduction) ??
      wgsl(octets ? "linear_vec_octets" : "linear_vec", { storage: read, reduction, constants }),
    groups: [Math.ceil(outputs / perGroup)],
    bindings: [
      { params: [outputs, pieces, 0, cols, 0x3727c5ac, pieces, 0, 1, 0] },
      { pool: rows * cols * bytes },
      x,
      { scratch: outputs * 4, of: "y" },
      { scratch: cols * 4, of: "norm" },
      x,
    ],
    bytes: rows * cols * bytes,
    subgroup: reduction === "subgroup" ? lanes : 0,
  };
}

/** Y = X·Wᵀ for so many tokens. */
export function matrixCase(storage, [rows, cols], tokens, form) {
  const { m, n, k, microM, microN } = form;
  const { bytes } = STORAGES[storage];
  const constants = { TILE_M: m, TILE_N: n, TILE_K: k, MICRO_M: microM, MICRO_N: microN, BIAS: false, ADD: false };
  const x = { scratch: tokens * cols * 4, of: "x" };
  return {
    code: form.code?.(storage, constants) ?? wgsl("linear_mat", { storage, constants }),
    groups: [Math.ceil(rows / n), Math.ceil(tokens / m)],
    bindings: [
      { params: [rows, cols / 4, 0, rows, cols / 4, 0, 1, 0] },
      { pool: rows * cols * bytes },
      x,
      { scratch: tokens * rows * 4, of: "y" },
      x,
      { words: [tokens, 0, 0, 0, 0, 0] },
    ],
    bytes: rows * cols * bytes,
    flops: 2 * rows * cols * tokens,
  };
}

/**
 * Attention of `tokens` tokens that come after `position` others. Of one token with its rotation and, unless it is split,
 * its appending.
 */
export function attentionCase({ heads, kvHeads, headDim }, tokens, position, { workgroup, splits }) {
  const width = (heads + 2 * kvHeads) * headDim;
  const cache = (position + tokens) * kvHeads * headDim * 2;
  const scale = new Uint32Array(new Float32Array([1 / Math.sqrt(headDim)]).buffer)[0];
  const constants = {
    WORKGROUP: workgroup,
    HEAD_DIM: headDim,
    ...rotation(headDim),
    SOFTCAP: false,
    KIND: 0,
    SPLIT: splits !== undefined,
  };
  const qkv = { scratch: tokens * width * 4, of: "qkv" };
  const rows = tokens * (heads / kvHeads);
  const one = splits === undefined ? "attention_append" : "attention_split";
  return {
    code: wgsl(tokens === 1 ? one : "attention", { constants }),
    groups: [kvHeads, Math.ceil(rows / 4), splits ?? 1],
    bindings: [
      { params: [heads, kvHeads, width, heads * headDim, scale, NO_WINDOW, 0, 0] },
      qkv,
      { pool: cache },
      { pool: cache, half: 1 },
      { scratch: tokens * heads * (headDim + 4) * (splits ?? 1) * 4, of: "y" },
      { words: step(tokens, position, headDim) },
      // In the place of norms.
      ...(tokens === 1 ? [qkv, qkv] : []),
    ],
    bytes: 2 * cache,
    flops: 4 * heads * headDim * tokens * (position + tokens / 2),
  };
}

/** What puts a split attention together. */
export function mergeCase({ heads, kvHeads, headDim }, position, splits) {
  const qkv = { scratch: (heads + 2 * kvHeads) * headDim * 4, of: "qkv" };
  const cache = (position + 1) * kvHeads * headDim * 2;
  return {
    code: wgsl("attention_merge", { constants: { WORKGROUP: 256, HEAD_DIM: headDim, ...rotation(headDim) } }),
    groups: [heads],
    bindings: [
      { params: [heads, kvHeads, 1, splits, NO_WINDOW, 0] },
      { scratch: heads * (headDim + 4) * splits * 4, of: "y" },
      { scratch: heads * headDim * 4, of: "merged" },
      qkv,
      { pool: cache },
      { pool: cache, half: 1 },
      { words: step(1, position, headDim) },
      qkv,
    ],
  };
}

/** That a token attends to all before it. */
const NO_WINDOW = 0xffffffff;

/** Whole heads that are rotated and not normalised. */
const rotation = (headDim) => ({ ROTARY: headDim, NEIGHBOURS: false, QK_NORM: 0, QK_EPS: 0 });

/** The Step of so many tokens, its angles' cosines and sines all a half. */
const step = (tokens, position, headDim) => [tokens, position, 0, 0, ...new Array(headDim * tokens).fill(0x3f000000)];

/** The device's own ceilings: what reading, copying, multiplying and starting a kernel cost by themselves. */
export function ceilings(bytes) {
  const quads = bytes / 16;
  const groups = [Math.min(quads / 256 / 4, 32768)];
  const kernel = (declarations, body) => `
    ${declarations}
    @compute @workgroup_size(256)
    fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
      let count = groups.x * 256u;
      ${body}
    }`;
  const array = "array<vec4<u32>>";
  return [
    {
      label: "read",
      code: kernel(
        `@group(0) @binding(0) var<storage, read> input: ${array}; @group(0) @binding(1) var<storage, read_write> output: ${array};`,
        `var sum = vec4<u32>();
        for (var i = id.x; i < arrayLength(&input); i += 4u * count) {
          sum += input[i] ^ input[i + count] ^ input[i + 2u * count] ^ input[i + 3u * count];
        }
        if all(sum == vec4<u32>(0x12345678u)) { output[0] = sum; }`,
      ),
      groups,
      bindings: [{ pool: bytes }, { scratch: 256, of: "to" }],
      bytes,
    },
    {
      label: "copy",
      code: kernel(
        `@group(0) @binding(0) var<storage, read> input: ${array}; @group(0) @binding(1) var<storage, read_write> output: ${array};`,
        "for (var i = id.x; i < arrayLength(&output); i += count) { output[i] = input[i]; }",
      ),
      groups,
      bindings: [{ pool: bytes / 2 }, { scratch: bytes / 2, of: "to" }],
      bytes,
    },
    {
      label: "multiply-add",
      code: kernel(
        "@group(0) @binding(0) var<storage, read_write> output: array<vec4<f32>>;",
        `let b = output[0];
        let c = output[1];
        var a0 = vec4<f32>(f32(id.x));
        var a1 = a0 + 0.1;
        var a2 = a0 + 0.2;
        var a3 = a0 + 0.3;
        for (var i = 0u; i < 512u; i++) {
          ${"a0 = fma(a0, b, c); a1 = fma(a1, b, c); a2 = fma(a2, b, c); a3 = fma(a3, b, c);".repeat(8)}
        }
        let sum = a0 + a1 + a2 + a3;
        if sum.x == 0.12345 { output[2] = sum; }`,
      ),
      groups: [4096],
      bindings: [{ scratch: 256, of: "fma" }],
      flops: 4096 * 256 * 4096 * 16 * 2,
    },
    {
      label: "an empty dispatch that waits for the one before",
      code: kernel(
        "@group(0) @binding(0) var<storage, read_write> output: array<u32>;",
        "if id.x == 0u { output[0] += count; }",
      ),
      groups: [1],
      bindings: [{ scratch: 256, of: "empty" }],
    },
  ];
}
