import { LayerlineError } from "./errors.js";
import { Tensor } from "./tensor.js";

type Ids = readonly number[] | readonly bigint[];
type IdsArray = BigInt64Array | BigUint64Array | Int32Array | Uint32Array;

/** Token ids, or a mask over them: a tensor of shape [n] or [1, n], or a plain array of either shape. */
export type IdsLike = Tensor | Ids | readonly Ids[] | IdsArray;

/** A prompt as the engine takes it. */
export interface Prompt {
  /** All ids as they were given, padding too. */
  given: Uint32Array;
  /** How many of them, at the start, are padding. */
  padding: number;
  /** The ids without it. */
  ids: Uint32Array;
}

const UNSIGNED_32 = 0xffff_ffff;

function row_of(value: IdsLike, name: string): ArrayLike<number | bigint> {
  if (value instanceof Tensor) {
    const batch = value.dims.length === 2 ? value.dims[0] : 1;
    if (value.dims.length < 1 || value.dims.length > 2) {
      throw new LayerlineError("INPUT_IDS", `${name} must have the shape [1, n], not [${value.dims.join(", ")}].`);
    }
    return one_row(batch ?? 1, name, () => value.data);
  }
  if (ArrayBuffer.isView(value)) return value as IdsArray;
  if (!Array.isArray(value)) {
    throw new LayerlineError("INPUT_IDS", `${name} must be a tensor or an array of token ids, not ${describe(value)}.`);
  }
  if (!value.some(Array.isArray)) return value as Ids;
  return one_row(value.length, name, () => (value as readonly Ids[])[0] ?? []);
}

function one_row<R>(batch: number, name: string, row: () => R): R {
  if (batch === 1) return row();
  throw new LayerlineError("INPUT_IDS", `${name} holds ${batch} sequences; one at a time is supported. Call in turn.`);
}

function describe(value: unknown): string {
  return value === null ? "null" : typeof value;
}

/** A row of non-negative integers. */
function integers(value: IdsLike, name: string): Uint32Array {
  const row = row_of(value, name);
  const out = new Uint32Array(row.length);
  for (let i = 0; i < row.length; i++) {
    const id = row[i];
    const n = typeof id === "bigint" || typeof id === "number" ? Number(id) : Number.NaN;
    if (!Number.isInteger(n) || n < 0 || n > UNSIGNED_32) {
      throw new LayerlineError("INPUT_IDS", `${name}[${i}] is ${String(id)}, which is not a token id.`);
    }
    out[i] = n;
  }
  return out;
}

/** The prompt in `input_ids`, with the padding that `attention_mask` marks at its start taken off. */
export function normalise_prompt(input_ids: IdsLike, attention_mask?: IdsLike | null): Prompt {
  const given = integers(input_ids, "input_ids");
  if (given.length === 0) {
    throw new LayerlineError("INPUT_IDS", "input_ids is empty; at least one token is needed.");
  }
  const padding = attention_mask == null ? 0 : left_padding(integers(attention_mask, "attention_mask"), given.length);
  return { given, padding, ids: given.subarray(padding) };
}

function left_padding(mask: Uint32Array, length: number): number {
  if (mask.length !== length) {
    throw new LayerlineError("INPUT_IDS", `attention_mask has ${mask.length} entries for ${length} input_ids.`);
  }
  const padding = mask.indexOf(1);
  const rest = padding === -1 ? [] : mask.subarray(padding);
  if (padding === -1 || rest.some((m) => m !== 1) || mask.subarray(0, padding).some((m) => m !== 0)) {
    throw new LayerlineError(
      "INPUT_IDS",
      "attention_mask must be zeros (padding) followed by at least one 1, and ones to the end: pad on the left.",
    );
  }
  return padding;
}

/** Token ids as a tensor of shape [1, n], as transformers has them. */
export function ids_tensor(ids: ArrayLike<number>): Tensor<"int64"> {
  return new Tensor("int64", BigInt64Array.from(Array.from(ids), BigInt), [1, ids.length]);
}

/** The ids in any of the forms that `decode` takes. */
export function decode_ids(value: IdsLike): Uint32Array {
  return integers(value, "token_ids");
}
