import { LayerlineError } from "./errors.js";
import { Tensor } from "./tensor.js";

type Floats = Tensor<"float32">;

/** How the vectors of a text's tokens become one, by sentence-transformers' names. */
export type Pooling = "cls" | "mean" | "max" | "mean_sqrt_len_tokens" | "lasttoken" | "weightedmean";

/**
 * One vector a text.
 *
 * @param states `[batch, n, width]`
 * @param mask `[batch, n]`: 0 where there is padding, on either side
 */
export function pool(states: Floats, mask: Tensor<"int64">, pooling: Pooling): Floats {
  const [batch = 0, length = 0, width = 0] = states.dims;
  if (states.dims.length !== 3 || mask.dims[0] !== batch || mask.dims[1] !== length) {
    throw new LayerlineError("TENSOR", `A mask [${mask.dims.join(", ")}] isn't of states [${states.dims.join(", ")}].`);
  }
  const out = new Float32Array(batch * width);
  for (let text = 0; text < batch; text++) {
    const tokens = Array.from({ length }, (_, token) => token).filter((token) => mask.data[text * length + token]);
    const row = (token: number) => {
      const start = (text * length + token) * width;
      return states.data.subarray(start, start + width);
    };
    pool_text(tokens.map(row), pooling, out.subarray(text * width, (text + 1) * width));
  }
  return new Tensor("float32", out, [batch, width]);
}

function pool_text(rows: readonly Float32Array[], pooling: Pooling, out: Float32Array): void {
  switch (pooling) {
    case "cls":
      out.set(rows[0] ?? []);
      return;
    case "lasttoken":
      out.set(rows.at(-1) ?? []);
      return;
    case "max":
      for (let i = 0; i < out.length; i++) out[i] = rows.reduce((max, row) => Math.max(max, row[i] ?? 0), -Infinity);
      return;
    case "mean":
      weighted(rows, () => 1, rows.length, out);
      return;
    case "mean_sqrt_len_tokens":
      weighted(rows, () => 1, Math.sqrt(rows.length), out);
      return;
    case "weightedmean":
      // Later tokens have seen more of the text.
      weighted(rows, (token) => token + 1, (rows.length * (rows.length + 1)) / 2, out);
  }
}

function weighted(
  rows: readonly Float32Array[],
  weight: (token: number) => number,
  divisor: number,
  out: Float32Array,
): void {
  for (let i = 0; i < out.length; i++) {
    out[i] = rows.reduce((sum, row, token) => sum + weight(token) * (row[i] ?? 0), 0) / divisor;
  }
}

/** Each vector of the last axis at length 1. */
export function normalize(tensor: Floats): Floats {
  const width = tensor.dims.at(-1) ?? 1;
  const out = new Float32Array(tensor.size);
  for (let start = 0; start < out.length; start += width) {
    const row = tensor.data.subarray(start, start + width);
    const norm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    // Padding is zeros, and stays so.
    for (let i = 0; i < width; i++) out[start + i] = (row[i] ?? 0) / Math.max(norm, 1e-12);
  }
  return new Tensor("float32", out, tensor.dims);
}

/** Signs as bits, eight in a byte, the first the highest; "binary" as signed bytes, which are the others less 128. */
export function quantize_embeddings(tensor: Floats, precision: "binary" | "ubinary"): Tensor<"int8"> | Tensor<"uint8"> {
  const [batch = 0, width = 0] = tensor.dims;
  if (tensor.dims.length !== 2 || width % 8 !== 0) {
    throw new LayerlineError(
      "TENSOR",
      `Embeddings [${tensor.dims.join(", ")}] can't be quantized: one vector a text is needed, of a multiple of 8.`,
    );
  }
  const bytes = new Uint8Array(tensor.size / 8);
  for (const [i, value] of tensor.data.entries())
    if (value > 0) bytes[i >> 3] = (bytes[i >> 3] ?? 0) | (128 >> (i & 7));
  const dims = [batch, width / 8];
  if (precision === "ubinary") return new Tensor("uint8", bytes, dims);
  return new Tensor(
    "int8",
    Int8Array.from(bytes, (byte) => byte - 128),
    dims,
  );
}
