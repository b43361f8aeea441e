import { CACHE_KEYS, type CacheOptions, engine_cache_options } from "./cache_options.js";
import type { EngineLoadOptions, HubOptions, ProgressInfo } from "./engine.js";
import { env } from "./env.js";
import { LayerlineError } from "./errors.js";

/** transformers' names of data types, and transformers.js' short ones. */
export type DType = "auto" | "float16" | "bfloat16" | "float32" | "fp16" | "bf16" | "fp32";

/** Options of every `from_pretrained`. */
export interface PretrainedOptions extends Pick<HubOptions, (typeof HUB_KEYS)[number]>, CacheOptions {
  /** Aborts the loading, in the background too. */
  signal?: AbortSignal;
  progress_callback?: ((event: ProgressInfo) => void) | null;
}

/** Options of `AutoModelForCausalLM.from_pretrained`. */
export interface PretrainedModelOptions extends PretrainedOptions {
  /**
   * The weights' type on the device. Default: half precision, float16 or (where the adapter lacks shader-f16 and the
   * checkpoint has it) bfloat16. "auto": as the checkpoint has them.
   */
  dtype?: DType | null;
  /** @deprecated transformers' former name of `dtype` */
  torch_dtype?: DType | null;
  /** Where each module goes. Default "auto". */
  device_map?: string | number | Record<string, number | string> | null;
  /** "webgpu" (the default), or a GPUDevice to share; that one needs `worker: false`. */
  device?: "auto" | "gpu" | "webgpu" | GPUDevice | null;
  /** Whether weights stream in before they are needed. Default true. */
  prefetch?: boolean;
  /** Whether the engine runs in a worker of its own. Default: true on a page, false in a worker or in Node. */
  worker?: boolean;
}

/** What the options say, in the engine's words. */
export interface CheckedModelOptions {
  hub: HubOptions;
  engine: Omit<EngineLoadOptions, keyof HubOptions | "signal" | "progress_callback">;
  worker: boolean;
  signal: AbortSignal | undefined;
  progress_callback: ((event: ProgressInfo) => void) | undefined;
}

const HUB_KEYS = ["endpoint", "revision", "token", "subfolder"] as const;
const SHARED_KEYS = [...HUB_KEYS, ...CACHE_KEYS, "signal", "progress_callback"];
const MODEL_KEYS = [...SHARED_KEYS, "dtype", "torch_dtype", "device_map", "device", "prefetch", "worker"];

const DTYPES: Record<string, NonNullable<EngineLoadOptions["dtype"]>> = {
  auto: "auto",
  float16: "float16",
  fp16: "float16",
  bfloat16: "bfloat16",
  bf16: "bfloat16",
  float32: "float32",
  fp32: "float32",
};

/** Options of the reference libraries that already say what Layerline does anyway, by the values that do. */
const NEUTRAL: Record<string, readonly unknown[]> = {
  low_cpu_mem_usage: [true],
  use_safetensors: [true],
  trust_remote_code: [false],
  use_external_data_format: [false],
};

/** Options of the reference libraries that are refused, and what to do instead. */
const REFUSED: Record<string, string> = {
  quantization_config: "Quantising at load is not supported; leave it out to use the checkpoint's own weights.",
  load_in_4bit: "Quantising at load is not supported; leave it out to use the checkpoint's own weights.",
  load_in_8bit: "Quantising at load is not supported; leave it out to use the checkpoint's own weights.",
  max_memory: 'Give a device_map that names the modules instead, or "auto".',
  offload_folder: "There is no offloading to disk; leave it out.",
  attn_implementation: "There is one implementation of attention, chosen for the adapter; leave it out.",
  trust_remote_code: "Code from a repo is never run. The architecture must be one that Layerline knows.",
  use_safetensors: "Weights are read from safetensors only; leave it out or give true.",
  low_cpu_mem_usage: "Weights never pass through memory as a whole; leave it out or give true.",
  config: "The config is read from the repo; leave it out.",
  model_file_name: "The weights are found by the repo's index; leave it out.",
  session_options: "There is no ONNX session here; leave it out.",
  use_external_data_format: "There are no ONNX files here; leave it out.",
  variant: "Checkpoint variants are not supported; name a revision or a subfolder instead.",
};

export function refuse_option(name: string, value: unknown, why: string): never {
  const shown = typeof value === "string" || typeof value !== "object" ? JSON.stringify(value) : "…";
  throw new LayerlineError("UNSUPPORTED_OPTION", `The option ${name}: ${shown} is not supported. ${why}`);
}

/** A table's own entry: not what every object inherits, whatever the key is. */
function own<V>(table: Record<string, V>, key: string): V | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** Refuses every key that isn't in `known`, unless its value asks for nothing; null and undefined are "not given". */
export function check_keys(
  options: object,
  known: readonly string[],
  neutral: Record<string, readonly unknown[]>,
  refused: Record<string, string>,
): void {
  for (const [name, value] of Object.entries(options)) {
    if (known.includes(name) || value === undefined || value === null || own(neutral, name)?.includes(value)) continue;
    refuse_option(name, value, own(refused, name) ?? `There is no such option here. Options: ${known.join(", ")}.`);
  }
}

function check_type(options: object, name: string, type: "string" | "boolean" | "function"): void {
  const value: unknown = Reflect.get(options, name);
  if (value !== undefined && value !== null && typeof value !== type) {
    refuse_option(name, value, `It must be a ${type}.`);
  }
}

/** The repo's id, checked to be one. */
export function check_id(id: unknown): string {
  if (typeof id === "string" && id.trim() !== "") return id;
  throw new LayerlineError("INVALID_REPO_ID", `A repo id such as "org/name" is needed, not ${JSON.stringify(id)}.`);
}

function check_hub_options(options: PretrainedOptions): HubOptions {
  for (const key of [...HUB_KEYS, "cache_dir"]) check_type(options, key, "string");
  for (const key of ["local_files_only", "force_download"]) check_type(options, key, "boolean");
  check_type(options, "progress_callback", "function");
  if (options.signal !== undefined && options.signal !== null && !(options.signal instanceof AbortSignal)) {
    refuse_option("signal", options.signal, "It must be an AbortSignal.");
  }
  const hub: HubOptions = { endpoint: options.endpoint ?? env.endpoint, ...engine_cache_options(options) };
  for (const key of HUB_KEYS) if (options[key] != null) hub[key] = options[key];
  return hub;
}

/** The options of a tokenizer or a config: which repo, and as whom. */
export function check_pretrained_options(options: PretrainedOptions): HubOptions {
  check_keys(options, SHARED_KEYS, { ...NEUTRAL, use_fast: [true], legacy: [false] }, REFUSED);
  return check_hub_options(options);
}

/**
 * The options of a model.
 *
 * @param worker_by_default whether this realm is a page that can start workers
 */
export function check_model_options(options: PretrainedModelOptions, worker_by_default: boolean): CheckedModelOptions {
  check_keys(options, MODEL_KEYS, NEUTRAL, REFUSED);
  check_type(options, "prefetch", "boolean");
  check_type(options, "worker", "boolean");
  const hub = check_hub_options(options);
  const engine: CheckedModelOptions["engine"] = {};

  if (options.dtype != null && options.torch_dtype != null && options.dtype !== options.torch_dtype) {
    refuse_option("torch_dtype", options.torch_dtype, `dtype says "${options.dtype}"; give one of the two.`);
  }
  const dtype = options.dtype ?? options.torch_dtype;
  if (dtype != null) {
    const known = typeof dtype === "string" ? own(DTYPES, dtype) : undefined;
    if (known === undefined) {
      refuse_option("dtype", dtype, `Types: ${Object.keys(DTYPES).join(", ")}. Quantising at load is not supported.`);
    }
    engine.dtype = known;
  }

  if (options.prefetch != null) engine.prefetch = options.prefetch;
  if (options.device_map != null) engine.device_map = options.device_map;

  const worker = options.worker ?? (worker_by_default && !is_gpu_device(options.device));
  if (is_gpu_device(options.device)) {
    if (worker) refuse_option("device", "GPUDevice", "A GPUDevice can't go to a worker; give worker: false with it.");
    engine.device = options.device;
  } else if (options.device != null && !["auto", "gpu", "webgpu"].includes(options.device)) {
    refuse_option("device", options.device, 'Models run on WebGPU: give "webgpu", a GPUDevice, or leave it out.');
  }
  return {
    hub,
    engine,
    worker,
    signal: options.signal,
    progress_callback: options.progress_callback ?? undefined,
  };
}

function is_gpu_device(device: unknown): device is GPUDevice {
  return typeof device === "object" && device !== null && "createBuffer" in device;
}
