// The engine's kernels as src/tensor/gpu/kernel.rs puts them together from shaders/, for measurements of one kernel alone.
import { readFileSync } from "node:fs";

const shader = (name) => readFileSync(new URL(`../shaders/${name}.wgsl`, import.meta.url), "utf8");

/** By the engine's names of its storages: the prelude that reads it, and the bytes of an element. */
export const STORAGES = {
  float32: { prelude: "weights_f32", bytes: 4 },
  "float16 (shader-f16)": { prelude: "weights_f16", bytes: 2, f16: true },
  "float16 (packed)": { prelude: "weights_f16_packed", bytes: 2 },
  "bfloat16 (packed)": { prelude: "weights_bf16", bytes: 2 },
};

/** What each kernel is compiled with, before its own text. */
const PRELUDES = {
  attention: ["step", "cache_read", "tokens_many", "bias_none"],
  attention_append: ["half", "step", "rotate", "cache_write", "tokens_one", "bias_none"],
  attention_merge: ["half", "step", "rotate"],
  attention_split: ["half", "step", "rotate", "cache_read", "tokens_one", "bias_none"],
  linear_mat: ["step", "linear_mat_io", "quads_float"],
  linear_mat_direct: ["step", "linear_mat_io", "quads_float"],
  linear_vec: ["activations", "pieces_quad"],
  linear_vec_octets: ["activations", "values_octet", "pieces_octet"],
};

/** Forms of a kernel that share its file. */
const FILES = { attention_append: "attention", attention_split: "attention", linear_vec_octets: "linear_vec" };

const declare = ([name, value]) =>
  typeof value === "boolean" ? `const ${name}: bool = ${value};` : `const ${name}: u32 = ${value}u;`;

/** The whole WGSL of a kernel. `storage` and `reduction` ("subgroup" or "workgroup") where it has them. */
export function wgsl(kernel, { storage, reduction, constants }) {
  return [
    STORAGES[storage]?.f16 ? "enable f16;" : "",
    reduction === "subgroup" ? "enable subgroups;" : "",
    ...Object.entries(constants).map(declare),
    storage ? shader(STORAGES[storage].prelude) : "",
    reduction ? shader(`sum_${reduction}`) : "",
    ...PRELUDES[kernel].map(shader),
    shader(FILES[kernel] ?? kernel),
  ].join("\n");
}
