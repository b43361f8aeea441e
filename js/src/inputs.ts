import { LayerlineError } from "./errors.js";
import { grid_of } from "./grid.js";
import { Tensor } from "./tensor.js";

type IdsArray = BigInt64Array | BigUint64Array | Int32Array | Uint32Array;
type Ids = readonly number[] | readonly bigint[] | IdsArray;

/** Token ids, or a mask over them: a tensor of shape [n] or [batch, n], or arrays of either shape. */
export type IdsLike = Tensor | Ids | readonly Ids[];

/** One text of a batch. */
export interface Sequence {
  /** All its ids as they were given, padding too. */
  given: Uint32Array;
  /** Where in them the text starts, and where it ends. */
  start: number;
  end: number;
  /** The ids without padding. */
  ids: Uint32Array;
  /** Their token types, where some were given. */
  token_type_ids?: Uint32Array;
  /** Their positions, where some were given. */
  position_ids?: Uint32Array;
  /** Rows that are read in the place of the ids, which then don't count. */
  inputs_embeds?: Float32Array;
}

/** Texts of one length, padding included. */
export interface Batch {
  length: number;
  sequences: Sequence[];
}

/** What has no padding and no ids, an image or a spectrogram, as texts of so many tokens. */
export function whole_batch(count: number, length: number): Batch {
  const ids = new Uint32Array(length);
  return { length, sequences: Array.from({ length: count }, () => ({ given: ids, start: 0, end: length, ids })) };
}

const UNSIGNED_32 = 0xffff_ffff;

/** Rows of integers. */
export interface Integers {
  rows: Uint32Array[];
  length: number;
}

/** Rows of non-negative integers. */
export function id_rows(value: IdsLike, name: string): Integers {
  const { dims, values } = grid_of(value, name);
  const [batch, length] = dims.length === 1 ? [1, dims[0]] : dims;
  const out = new Uint32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const id = values[i];
    const n = typeof id === "bigint" || typeof id === "number" ? Number(id) : Number.NaN;
    if (!Number.isInteger(n) || n < 0 || n > UNSIGNED_32) {
      const place = batch === 1 ? `${i}` : `${Math.floor(i / length)}][${i % length}`;
      throw new LayerlineError("INPUT_IDS", `${name}[${place}] is ${String(id)}, which is not a token id.`);
    }
    out[i] = n;
  }
  const rows = Array.from({ length: batch }, (_, row) => out.subarray(row * length, (row + 1) * length));
  return { rows, length };
}

/** Rows beside those of `input_ids`, of the same shape. */
export function beside(other: Integers, name: string, ids_name: string, { rows, length }: Integers): Uint32Array[] {
  if (other.rows.length !== rows.length || other.length !== length) {
    const [given, own] = [other, { rows, length }].map((it) => `[${it.rows.length}, ${it.length}]`);
    throw new LayerlineError("INPUT_IDS", `${name} has the shape ${given}, and ${ids_name} has ${own}.`);
  }
  return other.rows;
}

/** The last columns of a mask. */
function last_columns({ rows, length }: Integers, wanted: number): Integers {
  if (length <= wanted) return { rows, length };
  return { rows: rows.map((row) => row.subarray(length - wanted)), length: wanted };
}

/**
 * The texts in `input_ids`, with the padding that `attention_mask` marks at their starts and ends taken off.
 *
 * @param options.whose what comes before these names in messages
 * @param options.mask_is_longer the mask may have columns before those of the ids, of what was read earlier
 */
export function batch_of(
  input_ids: IdsLike,
  attention_mask?: IdsLike | null,
  token_type_ids?: IdsLike | null,
  { whose = "", mask_is_longer = false }: { whose?: "" | "decoder_"; mask_is_longer?: boolean } = {},
): Batch {
  const [ids_name, mask_name] = [`${whose}input_ids`, `${whose}attention_mask`];
  const given = id_rows(input_ids, ids_name);
  if (given.length === 0 || given.rows.length === 0) {
    throw new LayerlineError("INPUT_IDS", `${ids_name} is empty; at least one token is needed.`);
  }
  const mask = attention_mask == null ? undefined : id_rows(attention_mask, mask_name);
  const columns = mask && mask_is_longer ? last_columns(mask, given.length) : mask;
  const masks = columns && beside(columns, mask_name, ids_name, given);
  const type_rows = token_type_ids == null ? undefined : id_rows(token_type_ids, "token_type_ids");
  const types = type_rows && beside(type_rows, "token_type_ids", ids_name, given);
  const sequences = given.rows.map((row, i): Sequence => {
    const [start, end] = masks?.[i]
      ? span(masks[i], mask_name + (masks.length === 1 ? "" : `[${i}]`))
      : [0, row.length];
    const type_ids = types?.[i]?.subarray(start, end);
    return {
      given: row,
      start,
      end,
      ids: row.subarray(start, end),
      ...(type_ids && { token_type_ids: type_ids }),
    };
  });
  return { length: given.length, sequences };
}

/** Where the ones of a mask start and end. */
function span(mask: Uint32Array, name: string): [start: number, end: number] {
  const start = mask.indexOf(1);
  const end = mask.lastIndexOf(1) + 1;
  const outside = start === -1 ? mask : [...mask.subarray(0, start), ...mask.subarray(end)];
  if (start === -1 || mask.subarray(start, end).some((m) => m !== 1) || outside.some((m) => m !== 0)) {
    throw new LayerlineError(
      "INPUT_IDS",
      `${name} must be ones without a gap, at least one, between zeros where there is padding.`,
    );
  }
  return [start, end];
}

/** Rows of one length, filled up with `fill` on the right, as an int64 tensor of shape [batch, n]. */
export function ids_tensor(rows: readonly ArrayLike<number>[], fill = 0): Tensor<"int64"> {
  const length = Math.max(0, ...rows.map((row) => row.length));
  const data = new BigInt64Array(rows.length * length).fill(BigInt(fill));
  for (const [i, row] of rows.entries()) data.set(Array.from(row, BigInt), i * length);
  return new Tensor("int64", data, [rows.length, length]);
}

/** The ids in any of the forms that `decode` takes. */
export function decode_ids(value: IdsLike): Uint32Array {
  const { rows } = id_rows(value, "token_ids");
  if (rows.length > 1) {
    throw new LayerlineError("INPUT_IDS", `token_ids holds ${rows.length} sequences; give them to batch_decode.`);
  }
  return rows[0] ?? new Uint32Array();
}
