import { CACHE_KEYS, type CacheOptions, engine_cache_options } from "./cache_options.js";
import type { PretrainedConfig } from "./config.js";
import { type ConfigOverrides, OVERRIDES } from "./config_overrides.js";
import type { EngineLoadOptions, HubOptions, ProgressInfo } from "./engine.js";
import { env } from "./env.js";
import { LayerlineError } from "./errors.js";
import { check_device_map, check_execution_device, check_max_memory } from "./placement.js";
import { check_quantization, type QuantizationConfig, quantized_dtype } from "./quantization.js";
import { refuse_option } from "./refuse.js";
import { check_source, type ModelSource } from "./source.js";
import { check_state_dict, type StateDict } from "./state_dict.js";

/** transformers' names of data types, and transformers.js' short ones. "q8" and "q4" are `quantization_config`s. */
export type DType =
  | "auto"
  | "float16"
  | "half"
  | "bfloat16"
  | "float32"
  | "float"
  | "fp16"
  | "bf16"
  | "fp32"
  | "q8"
  | "int8"
  | "q4"
  | "q4f16"
  | "int4"
  | `torch.${"float16" | "half" | "bfloat16" | "float32" | "float"}`;

/** Options of every `from_pretrained`, with transformers' meaning. */
export interface PretrainedOptions extends CacheOptions {
  /** A branch, a tag or a commit. Default "main". */
  revision?: string | null;
  /** A folder of the repo in which all files are. */
  subfolder?: string | null;
  /** A user access token. It goes to the endpoint's origin only, and is never stored. false: none. */
  token?: string | false | null;
  /** The Hub, or a mirror of it. Default `env.endpoint`. */
  endpoint?: string | null;
  /** transformers' former name of `endpoint` */
  mirror?: string | null;
  /** Aborts the loading, in the background too. */
  signal?: AbortSignal | null;
  progress_callback?: ((event: ProgressInfo) => void) | null;
}

/** Options of a model that is made, however its weights come. */
export interface ModelOptions {
  /**
   * The weights' type on the device. Default: half precision, float16 or (where the adapter lacks shader-f16 and the
   * checkpoint has it) bfloat16. "auto": the config's, else that of the checkpoint's first floating tensor.
   */
  dtype?: DType | null;
  /** @deprecated transformers' former name of `dtype` */
  torch_dtype?: DType | null;
  /**
   * Round the linear layers' weights to integers as they come, wherever they live: `new QuantoConfig({ weights: "int4" })`. Default: as
   * the checkpoint has them.
   */
  quantization_config?: QuantizationConfig | null;
  /**
   * Where each module lives: 0 is the GPU; "cpu" is CPU memory, where it is computed too or from where it comes to the GPU;
   * "disk" is the cache, from which it comes for each pass. Default "auto": inferred from `max_memory`, as accelerate does;
   * without that all is on the GPU, or in CPU memory where there is no WebGPU.
   */
  device_map?: string | number | Record<string, number | string> | null;
  /**
   * Bytes that a device takes, or texts like "2GB": `{ 0: "2GB", cpu: "4GB" }`. The GPU's are of all that the model has there, KV cache
   * and activations too; CPU memory's of weights. The disk takes the rest.
   */
  max_memory?: Record<string, number | string> | null;
  /** Which device computes what is in CPU memory. Default: whichever is faster, layer by layer and call by call. */
  execution_device?: 0 | "cpu" | null;
  /**
   * "webgpu": fail where there is none. "cpu" or "wasm": the CPU alone. A GPUDevice is shared, and needs `worker: false`.
   * Default "auto": WebGPU where there is some that is more than a program on the CPU, else the CPU.
   */
  device?: "auto" | "gpu" | "webgpu" | "cpu" | "wasm" | GPUDevice | null;
  /** The one implementation that there is computes what both of these do. */
  attn_implementation?: "eager" | "sdpa" | null;
  /** Decides the values of weights that are initialised anew: the same seed, the same values. */
  seed?: number | null;
  /** Whether weights stream in before they are needed: all but those of experts. Default true. */
  prefetch?: boolean | null;
  /** Whether the engine runs in a worker of its own. Default: true on a page, false in a worker or in Node. */
  worker?: boolean | null;
}

/** Options of `AutoModel.from_pretrained` and its kin. */
export interface PretrainedModelOptions extends PretrainedOptions, ModelOptions, ConfigOverrides {
  /** A config to take instead of the repo's: an object, or where another one's config.json is. */
  config?: PretrainedConfig | ModelSource | null;
  /** The weights, in place of a checkpoint; the source is then null and `config` an object. */
  state_dict?: StateDict | null;
  /** "fp16" for `model.fp16.safetensors` */
  variant?: string | null;
  /** true: safetensors only. false: none. Default: safetensors before pytorch_model.bin. */
  use_safetensors?: boolean | null;
  /** Read `flax_model.msgpack`. Default false. */
  from_flax?: boolean | null;
  /** Pickles hold tensors here, and nothing that runs. */
  weights_only?: true | null;
  /** Initialise weights whose shape in the checkpoint is another than the config says, rather than fail. */
  ignore_mismatched_sizes?: boolean | null;
  /** Resolve to `[model, loading_info]`. Default false. */
  output_loading_info?: boolean | null;
  /** Weights never pass through memory as a whole. */
  low_cpu_mem_usage?: true | null;
  /**
   * The name of the cache from which what lives on "disk" comes for each pass: there is no second copy. Default: `cache_dir`. There is
   * one also where `env.use_browser_cache` is false.
   */
  offload_folder?: string | null;
}

/** What the options say, in the engine's words. */
export interface CheckedModelOptions {
  engine: Omit<EngineLoadOptions, "task" | "config_source" | "signal" | "progress_callback">;
  /** Another source, whose config is to be taken. */
  config_source: string | object | undefined;
  worker: boolean;
  output_loading_info: boolean;
  signal: AbortSignal | undefined;
  progress_callback: ((event: ProgressInfo) => void) | undefined;
}

const TEXT_KEYS = ["revision", "subfolder", "endpoint", "mirror"] as const;
const SHARED_KEYS: readonly string[] = [...TEXT_KEYS, ...CACHE_KEYS, "token", "signal", "progress_callback"];
const MADE_KEYS = [
  "dtype",
  "torch_dtype",
  "quantization_config",
  "device_map",
  "max_memory",
  "execution_device",
  "device",
  "attn_implementation",
  "seed",
  "prefetch",
  "worker",
];
const LOADED_KEYS = [
  "config",
  "state_dict",
  "variant",
  "use_safetensors",
  "from_flax",
  "ignore_mismatched_sizes",
  "output_loading_info",
  "offload_folder",
];

const DTYPES: Record<string, NonNullable<EngineLoadOptions["dtype"]>> = {
  auto: "auto",
  float16: "float16",
  half: "float16",
  fp16: "float16",
  bfloat16: "bfloat16",
  bf16: "bfloat16",
  float32: "float32",
  float: "float32",
  fp32: "float32",
};

/** Options of the reference libraries that already say what Layerline does anyway, by the values that do. */
const NEUTRAL: Record<string, readonly unknown[]> = {
  low_cpu_mem_usage: [true],
  weights_only: [true],
  trust_remote_code: [false],
  from_tf: [false],
  resume_download: [true],
  use_external_data_format: [false],
  return_dict: [true],
  offload_state_dict: [false],
};

const QUANTISING = 'Give quantization_config: new QuantoConfig({ weights: "int8" }), or "int4".';

/** Options of the reference libraries that are refused, and what to do instead. */
const REFUSED: Record<string, string> = {
  load_in_4bit: QUANTISING,
  load_in_8bit: QUANTISING,
  offload_state_dict: "Weights never pass through memory as a whole; leave it out.",
  offload_buffers: "The models here have no buffers; leave it out.",
  trust_remote_code: "Code from a repo is never run. The architecture must be one that Layerline knows.",
  code_revision: "Code from a repo is never run; leave it out.",
  weights_only: "A pickle that could run code is never loaded: true is the only mode. Leave it out.",
  low_cpu_mem_usage: "Weights never pass through memory as a whole; leave it out or give true.",
  from_tf: "TensorFlow checkpoints can't be read; save the model with transformers as safetensors.",
  gguf_file: "GGUF files can't be read; load the repo that they were made from.",
  proxies: "A page can't choose its proxies: the browser does. Leave it out.",
  resume_download: "Downloads always resume; leave it out.",
  local_dir: "A page has no directories; pass a folder that the user has picked as the source.",
  tp_plan: "There is one device in a browser; leave it out.",
  tp_size: "There is one device in a browser; leave it out.",
  device_mesh: "There is one device in a browser; leave it out.",
  distributed_config: "There is one device in a browser; leave it out.",
  use_kernels: "The kernels are Layerline's own; leave it out.",
  kernel_config: "The kernels are Layerline's own; leave it out.",
  disable_mmap: "There is no mmap in a browser; leave it out.",
  key_mapping: "Give the checkpoint's tensors their names in a state_dict instead.",
  adapter_kwargs: "Adapters are not supported; leave it out.",
  generation_config: "Pass it to generate() instead.",
  model_file_name: "The weights are found by the repo's index; leave it out.",
  session_options: "There is no ONNX session here; leave it out.",
  use_external_data_format: "There are no ONNX files here; leave it out.",
  output_hidden_states: "Give it with the inputs of each call instead.",
  output_attentions: "Give it with the inputs of each call instead.",
  return_dict: "Outputs are objects; leave it out.",
  use_auth_token: "It is called token now.",
};

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
  listed: readonly string[] = known,
): void {
  for (const [name, value] of Object.entries(options)) {
    if (known.includes(name) || value === undefined || value === null || own(neutral, name)?.includes(value)) continue;
    refuse_option(name, value, own(refused, name) ?? `There is no such option here. Options: ${listed.join(", ")}.`);
  }
}

function check_type(options: object, name: string, type: "string" | "boolean" | "function"): void {
  const value: unknown = Reflect.get(options, name);
  if (value !== undefined && value !== null && typeof value !== type) {
    refuse_option(name, value, `It must be a ${type}.`);
  }
}

function check_hub_options(options: PretrainedOptions): HubOptions {
  for (const key of [...TEXT_KEYS, "cache_dir"]) check_type(options, key, "string");
  for (const key of ["local_files_only", "force_download"]) check_type(options, key, "boolean");
  check_type(options, "progress_callback", "function");
  const { token, signal, endpoint, mirror } = options;
  if (signal != null && !(signal instanceof AbortSignal)) refuse_option("signal", signal, "It must be an AbortSignal.");
  if ((token as unknown) === true) refuse_option("token", token, "A page has no stored token: pass the token itself.");
  if (token !== false) check_type(options, "token", "string");
  if (endpoint != null && mirror != null && endpoint !== mirror) {
    refuse_option("mirror", mirror, `endpoint says "${endpoint}"; give one of the two.`);
  }
  if (options.force_download && options.local_files_only) {
    refuse_option("force_download", true, "local_files_only forbids every download; give one of the two.");
  }
  const hub: HubOptions = { endpoint: endpoint ?? mirror ?? env.endpoint, ...engine_cache_options(options) };
  for (const key of ["revision", "subfolder"] as const) if (options[key] != null) hub[key] = options[key];
  if (typeof token === "string") hub.token = token;
  return hub;
}

/** Of a model's options those that are about its repo, for what else is read from there. */
export function repo_options(options: PretrainedOptions): PretrainedOptions {
  return Object.fromEntries(Object.entries(options).filter(([key]) => SHARED_KEYS.includes(key)));
}

/** The options of a tokenizer or a config: which repo, and as whom. */
export function check_pretrained_options(options: PretrainedOptions): HubOptions {
  check_keys(options, SHARED_KEYS, { ...NEUTRAL, use_fast: [true], legacy: [false] }, REFUSED);
  return check_hub_options(options);
}

/** Options of `load_sharded_checkpoint`. */
export interface ShardedCheckpointOptions extends Omit<PretrainedOptions, "progress_callback"> {
  /** Fail unless the checkpoint has exactly the model's names. Default true. */
  strict?: boolean | null;
  /** Of a safetensors and a PyTorch index take the former. Default true. */
  prefer_safe?: boolean | null;
}

/** The options of a sharded checkpoint: which repo, and as whom. */
export function check_sharded_options(options: ShardedCheckpointOptions): HubOptions {
  check_keys(options, [...SHARED_KEYS, "strict", "prefer_safe"], NEUTRAL, REFUSED);
  for (const key of ["strict", "prefer_safe"]) check_type(options, key, "boolean");
  return check_hub_options(options);
}

function check_dtype({ dtype, torch_dtype }: ModelOptions): EngineLoadOptions["dtype"] {
  if (dtype != null && torch_dtype != null && dtype !== torch_dtype) {
    refuse_option("torch_dtype", torch_dtype, `dtype says "${dtype}"; give one of the two.`);
  }
  const given: unknown = dtype ?? torch_dtype;
  if (given == null || quantized_dtype(given) !== undefined) return undefined;
  const known = typeof given === "string" ? own(DTYPES, given.replace(/^torch\./, "")) : undefined;
  return known ?? refuse_option("dtype", given, `Types: ${Object.keys(DTYPES).join(", ")}, q8, q4.`);
}

function check_made_options(
  options: ModelOptions,
  worker_by_default: boolean,
): Pick<CheckedModelOptions, "engine" | "worker"> {
  check_type(options, "prefetch", "boolean");
  check_type(options, "worker", "boolean");
  const engine: CheckedModelOptions["engine"] = {};
  const dtype = check_dtype(options);
  if (dtype !== undefined) engine.dtype = dtype;
  Object.assign(engine, check_quantization(options.quantization_config, options.dtype ?? options.torch_dtype));
  const { attn_implementation, seed } = options;
  if (attn_implementation != null && !["eager", "sdpa"].includes(attn_implementation)) {
    refuse_option(
      "attn_implementation",
      attn_implementation,
      'It needs CUDA. Leave it out, or give "eager" or "sdpa".',
    );
  }
  if (seed != null) {
    if (!Number.isSafeInteger(seed) || seed < 0) refuse_option("seed", seed, "It must be an integer of 0 or more.");
    engine.seed = seed;
  }
  if (options.prefetch != null) engine.prefetch = options.prefetch;
  const device_map = check_device_map(options.device_map);
  if (device_map !== undefined) engine.device_map = device_map;
  const max_memory = check_max_memory(options.max_memory);
  if (max_memory !== undefined) engine.max_memory = max_memory;

  const execution_device = check_execution_device(options.execution_device);
  if (execution_device !== undefined) engine.execution_device = execution_device;

  const worker = options.worker ?? (worker_by_default && !is_gpu_device(options.device));
  if (is_gpu_device(options.device)) {
    if (worker) refuse_option("device", "GPUDevice", "A GPUDevice can't go to a worker; give worker: false with it.");
    engine.device = options.device;
  } else if (options.device === "cpu" || options.device === "wasm") {
    if (options.device_map != null || options.max_memory != null) {
      refuse_option(
        "device",
        options.device,
        "It says where the whole model is, as device_map and max_memory do; give one of them.",
      );
    }
    engine.device_map = JSON.stringify({ "": "cpu" });
  } else if (options.device === "gpu" || options.device === "webgpu") {
    engine.requires_gpu = true;
  } else if (options.device != null && options.device !== "auto") {
    refuse_option("device", options.device, 'Give "webgpu", "cpu", a GPUDevice, or leave it out.');
  }
  return { engine, worker };
}

/** A config that is given as an object, which files are not. */
function is_config(config: unknown): config is PretrainedConfig {
  return typeof config === "object" && config !== null && typeof (config as PretrainedConfig).model_type === "string";
}

/**
 * The options of a model that is loaded.
 *
 * @param worker_by_default whether this realm is a page that can start workers
 */
export function check_model_options(options: PretrainedModelOptions, worker_by_default: boolean): CheckedModelOptions {
  const known = [...SHARED_KEYS, ...MADE_KEYS, ...LOADED_KEYS];
  check_keys(options, [...known, ...Object.keys(OVERRIDES)], NEUTRAL, REFUSED, known);
  const { engine, worker } = check_made_options(options, worker_by_default);
  Object.assign(engine, check_hub_options(options));

  check_type(options, "variant", "string");
  Object.assign(engine, offload_options(options));
  for (const key of ["use_safetensors", "from_flax", "ignore_mismatched_sizes", "output_loading_info"]) {
    check_type(options, key, "boolean");
  }
  for (const key of ["variant", "use_safetensors", "from_flax", "ignore_mismatched_sizes"] as const) {
    if (options[key] != null) Object.assign(engine, { [key]: options[key] });
  }
  const { config, state_dict } = options;
  if (is_config(config)) engine.config_json = JSON.stringify(config);
  if (state_dict != null) engine.state_dict = check_state_dict(state_dict);
  const overrides = Object.entries(options).filter(
    ([key, value]) => Object.hasOwn(OVERRIDES, key) && value !== undefined,
  );
  if (overrides.length > 0) engine.config_overrides = JSON.stringify(Object.fromEntries(overrides));
  return {
    engine,
    config_source: config == null || is_config(config) ? undefined : check_source(config),
    worker,
    output_loading_info: options.output_loading_info ?? false,
    signal: options.signal ?? undefined,
    progress_callback: options.progress_callback ?? undefined,
  };
}

/** Where what is offloaded to disk lies: all that comes is kept there, in any case. */
function offload_options(options: PretrainedModelOptions): Pick<HubOptions, "cache_dir" | "use_browser_cache"> {
  check_type(options, "offload_folder", "string");
  const { offload_folder, cache_dir } = options;
  if (!offload_folder) return {};
  if (cache_dir && cache_dir !== offload_folder) {
    refuse_option(
      "offload_folder",
      offload_folder,
      `cache_dir says "${cache_dir}"; what is offloaded is read from there.`,
    );
  }
  return { cache_dir: offload_folder, use_browser_cache: true };
}

/** The options of a model that is made from a config alone. */
export function check_new_model_options(
  config: PretrainedConfig,
  options: ModelOptions & Pick<PretrainedOptions, "signal">,
  worker_by_default: boolean,
): CheckedModelOptions {
  check_keys(options, [...MADE_KEYS, "signal"], NEUTRAL, REFUSED);
  if (!is_config(config)) {
    throw new LayerlineError("CONFIG_INVALID", "from_config needs a config object with a model_type.");
  }
  const { signal } = options;
  if (signal != null && !(signal instanceof AbortSignal)) refuse_option("signal", signal, "It must be an AbortSignal.");
  const { engine, worker } = check_made_options(options, worker_by_default);
  engine.config_json = JSON.stringify(config);
  return {
    engine,
    config_source: undefined,
    worker,
    output_loading_info: false,
    signal: signal ?? undefined,
    progress_callback: undefined,
  };
}

function is_gpu_device(device: unknown): device is GPUDevice {
  return typeof device === "object" && device !== null && "createBuffer" in device;
}
