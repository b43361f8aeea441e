import { type ErrorCode, LayerlineError } from "./errors.js";
import { Tensor } from "./tensor.js";

type NumberArray =
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array;

type Row = readonly number[] | readonly bigint[] | NumberArray;

/** Numbers in one or two dimensions, in any of the forms that have them. */
export type GridLike = Tensor | Row | readonly Row[];

/** What a {@link GridLike} holds, row by row. */
export interface Grid {
  /** The shape, `[n]` or `[batch, n]`. */
  dims: readonly [number] | readonly [number, number];
  values: ArrayLike<number | bigint>;
  /** Whether the numbers are whole by their type, in a tensor or a typed array; undefined in a plain array of numbers. */
  whole: boolean | undefined;
}

/** Takes numbers apart, or says under `name` what is wrong with them. */
export function grid_of(value: unknown, name: string, code: ErrorCode = "INPUT_IDS"): Grid {
  if (value instanceof Tensor) {
    const [first, second] = value.dims;
    if (first === undefined || value.dims.length > 2) {
      throw new LayerlineError(code, `${name} must have the shape [n] or [batch, n], not [${value.dims.join(", ")}].`);
    }
    const whole = value.type !== "float32" && value.type !== "float64";
    return { dims: second === undefined ? [first] : [first, second], values: value.data, whole };
  }
  if (is_numbers(value)) return { dims: [value.length], values: value, whole: is_whole(value) };
  if (!Array.isArray(value)) {
    throw new LayerlineError(code, `${name} must be a tensor or an array of numbers, not ${describe(value)}.`);
  }
  if (!value.some(is_list)) return { dims: [value.length], values: value, whole: is_whole(value) };
  if (!value.every(is_list)) throw new LayerlineError(code, `${name} mixes numbers and arrays of numbers.`);
  const rows = value as readonly Row[];
  const length = rows[0]?.length ?? 0;
  const odd = rows.find((row) => row.length !== length);
  if (odd !== undefined) {
    throw new LayerlineError(code, `${name} has rows of ${length} and of ${odd.length}; pad them to one length.`);
  }
  return { dims: [rows.length, length], values: rows.flatMap((row) => [...row]), whole: rows[0] && is_whole(rows[0]) };
}

function is_numbers(value: unknown): value is NumberArray {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function is_list(value: unknown): boolean {
  return Array.isArray(value) || is_numbers(value);
}

function is_whole(row: Row): boolean | undefined {
  if (typeof row[0] === "bigint") return true;
  return Array.isArray(row) ? undefined : !(row instanceof Float32Array || row instanceof Float64Array);
}

function describe(value: unknown): string {
  return value === null ? "null" : typeof value;
}
