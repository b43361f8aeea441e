import type { EngineTensor } from "./engine.js";
import { LayerlineError } from "./errors.js";
import { type DataType, Tensor } from "./tensor.js";

/** safetensors' names of the element types, by torch's and this package's. */
const DTYPES = {
  float32: "F32",
  float64: "F64",
  float16: "F16",
  bfloat16: "BF16",
  int8: "I8",
  uint8: "U8",
  int16: "I16",
  uint16: "U16",
  int32: "I32",
  uint32: "U32",
  int64: "I64",
  uint64: "U64",
  bool: "BOOL",
} as const satisfies Record<DataType | "float16" | "bfloat16", string>;

/** A tensor of a type that JavaScript has no array for: its bytes, little-endian and row-major. */
export interface RawTensor {
  dtype: keyof typeof DTYPES;
  dims: readonly number[];
  data: ArrayBufferView<ArrayBufferLike>;
}

/** A model's weights by their names, as torch's `state_dict()` has them. */
export type StateDict = Readonly<Record<string, Tensor | RawTensor>> | ReadonlyMap<string, Tensor | RawTensor>;

/** The tensors as the engine takes them: bytes that are those of the caller, not copies. */
export function check_state_dict(state_dict: StateDict): EngineTensor[] {
  const given: unknown = state_dict;
  const entries = given instanceof Map ? [...given] : typeof given === "object" && given ? Object.entries(given) : [];
  if (entries.length === 0) throw invalid("state_dict", "must be an object or a Map of tensors by name");
  return entries.map(([name, tensor]) => check_tensor(String(name), tensor));
}

function check_tensor(name: string, tensor: unknown): EngineTensor {
  if (typeof tensor !== "object" || tensor === null) throw invalid(name, "must be a Tensor or { dtype, dims, data }");
  const { dims, data } = tensor as Partial<RawTensor>;
  const type = tensor instanceof Tensor ? tensor.type : (tensor as Partial<RawTensor>).dtype;
  const dtype =
    typeof type === "string" && Object.hasOwn(DTYPES, type) ? DTYPES[type as keyof typeof DTYPES] : undefined;
  if (dtype === undefined)
    throw invalid(name, `has the dtype ${JSON.stringify(type)}; known: ${Object.keys(DTYPES).join(", ")}`);
  if (!Array.isArray(dims) || !dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0)) {
    throw invalid(name, "needs dims, an array of sizes");
  }
  if (!ArrayBuffer.isView(data)) throw invalid(name, "needs data, a typed array");
  const size = Number(/\d+$/.exec(type as string)?.[0] ?? 8) / 8;
  const bytes = dims.reduce((product, dim) => product * dim, size);
  if (bytes !== data.byteLength) {
    throw invalid(name, `of shape [${dims.join(", ")}] needs ${bytes} bytes of ${type}, not ${data.byteLength}`);
  }
  return { name, dtype, shape: [...dims], data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

function invalid(name: string, why: string): LayerlineError {
  return new LayerlineError("TENSOR", `state_dict: ${name} ${why}.`);
}
