import { LayerlineError } from "./errors.js";

/** The typed array that holds the elements of each type; int64 in a BigInt64Array, as in transformers.js. */
export interface DataTypeMap {
  float32: Float32Array;
  float64: Float64Array;
  int8: Int8Array;
  uint8: Uint8Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int32: Int32Array;
  uint32: Uint32Array;
  int64: BigInt64Array;
  uint64: BigUint64Array;
  bool: Uint8Array;
}

export type DataType = keyof DataTypeMap;

/** A tensor's element in JavaScript: a bigint where the type has 64 bits, else a number. */
export type Element<T extends DataType> = T extends "int64" | "uint64" ? bigint : number;

export type NestedArray<E> = E | NestedArray<E>[];

/** One axis of {@link Tensor.slice}: an index (drops the axis), `[start, end)`, or null for all of it. */
export type SliceRange = number | readonly [start: number, end: number] | null;

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
} as const;

const INDEX = /^-?(0|[1-9][0-9]*)$/;

function product(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

/**
 * A dense, row-major, n-dimensional array on the CPU.
 *
 * `t[i]` is the i-th sub-tensor along the first axis; of a 1-D tensor it is a scalar tensor (see {@link item}).
 * Sub-tensors share their elements with the tensor they came from.
 */
export class Tensor<T extends DataType = DataType> {
  readonly type: T;
  readonly data: DataTypeMap[T];
  readonly dims: readonly number[];

  [index: number]: Tensor<T>;

  /**
   * @param type the elements' type
   * @param data the elements in row-major order: the type's typed array, kept as it is, or a plain array, converted
   * @param dims the shape; the product must be the number of elements
   */
  constructor(type: T, data: DataTypeMap[T] | readonly Element<T>[], dims: readonly number[]) {
    const array = ARRAYS[type];
    if (array === undefined) {
      throw new LayerlineError(
        "TENSOR",
        `There is no tensor type "${type}". Types: ${Object.keys(ARRAYS).join(", ")}.`,
      );
    }
    if (!dims.every((d) => Number.isSafeInteger(d) && d >= 0) || product(dims) !== data.length) {
      throw new LayerlineError("TENSOR", `${data.length} elements don't fill a tensor of shape [${dims.join(", ")}].`);
    }
    if (ArrayBuffer.isView(data) && !(data instanceof array)) {
      throw new LayerlineError("TENSOR", `A ${type} tensor keeps its elements in a ${array.name}.`);
    }
    this.type = type;
    this.data = (data instanceof array ? data : new array(data as never)) as DataTypeMap[T];
    this.dims = [...dims];
    // A proxy, because `t[i]` for any i needs one; the class itself never goes through it.
    // biome-ignore lint/correctness/noConstructorReturn: the tensor that the caller gets must be indexable
    return new Proxy(this, {
      get(target, key) {
        if (typeof key === "string" && INDEX.test(key)) return target.at(Number(key));
        return Reflect.get(target, key, target);
      },
    });
  }

  /** The number of elements. */
  get size(): number {
    return this.data.length;
  }

  /** The i-th sub-tensor along the first axis; a negative i counts from the end. */
  at(index: number): Tensor<T> {
    const [length, ...dims] = this.dims;
    if (length === undefined) throw new LayerlineError("TENSOR", "A scalar tensor has no axis to index.");
    const i = resolve_index(index, length, 0);
    const step = product(dims);
    return new Tensor<T>(this.type, this.data.subarray(i * step, (i + 1) * step) as DataTypeMap[T], dims);
  }

  /** The only element of a tensor of one element. */
  item(): Element<T> {
    if (this.size !== 1) {
      throw new LayerlineError("TENSOR", `item() is for tensors of one element; this one has ${this.size}.`);
    }
    return this.data[0] as Element<T>;
  }

  /** The elements as nested arrays. A scalar tensor gives its element. */
  tolist(): NestedArray<Element<T>> {
    const build = (axis: number, offset: number): NestedArray<Element<T>> => {
      const length = this.dims[axis];
      if (length === undefined) return this.data[offset] as Element<T>;
      const step = product(this.dims.slice(axis + 1));
      return Array.from({ length }, (_, i) => build(axis + 1, offset + i * step));
    };
    return build(0, 0);
  }

  /** A copy of part of the tensor; axes that aren't named are taken whole. */
  slice(...ranges: readonly SliceRange[]): Tensor<T> {
    if (ranges.length > this.dims.length) {
      throw new LayerlineError("TENSOR", `${ranges.length} ranges for a tensor of ${this.dims.length} dimensions.`);
    }
    const spans = this.dims.map((length, axis) => resolve_range(ranges[axis] ?? null, length, axis));
    const dims = spans.filter((span) => !span.drop).map((span) => span.end - span.start);
    const out = new ARRAYS[this.type](spans.reduce((n, s) => n * (s.end - s.start), 1));
    let written = 0;
    const copy = (axis: number, offset: number): void => {
      const span = spans[axis];
      if (span === undefined) {
        out[written++] = this.data[offset] as never;
        return;
      }
      const step = product(this.dims.slice(axis + 1));
      for (let i = span.start; i < span.end; i++) copy(axis + 1, offset + i * step);
    };
    copy(0, 0);
    return new Tensor<T>(this.type, out as DataTypeMap[T], dims);
  }

  /** The elements of a 1-D tensor, or the sub-tensors along the first axis of any other. */
  *[Symbol.iterator](): Generator<Element<T> | Tensor<T>, void, undefined> {
    const [length, ...rest] = this.dims;
    if (length === undefined) throw new LayerlineError("TENSOR", "A scalar tensor has no axis to iterate over.");
    if (rest.length === 0) yield* this.data as unknown as Iterable<Element<T>>;
    else for (let i = 0; i < length; i++) yield this.at(i);
  }
}

function resolve_index(index: number, length: number, axis: number): number {
  const i = index < 0 ? index + length : index;
  if (!Number.isInteger(i) || i < 0 || i >= length) {
    throw new LayerlineError("TENSOR", `Index ${index} is outside axis ${axis}, which has ${length} entries.`);
  }
  return i;
}

function resolve_range(range: SliceRange, length: number, axis: number) {
  if (range === null) return { start: 0, end: length, drop: false };
  if (typeof range === "number") {
    const start = resolve_index(range, length, axis);
    return { start, end: start + 1, drop: true };
  }
  const clamp = (i: number) => Math.min(Math.max(i < 0 ? i + length : i, 0), length);
  const [start, end] = [clamp(range[0]), clamp(range[1])];
  if (!Number.isInteger(start) || !Number.isInteger(end)) {
    throw new LayerlineError("TENSOR", `The range [${range[0]}, ${range[1]}) of axis ${axis} isn't of whole numbers.`);
  }
  return { start, end: Math.max(start, end), drop: false };
}
