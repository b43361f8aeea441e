/**
 * The face of the engine's wasm (`wasm/engine/engine.js`), in exact types: the generated declarations have only `any`
 * where an object crosses. Also the types of the values that this package hands on unchanged.
 */

import type { EngineCacheOptions } from "./cache_options.js";
import type { IncompatibleKeys, LoadingInfo } from "./loading_info.js";

/** Where a module runs: a GPU's number, or a slower tier by name. */
export type Device = number | string;

/** The events of loading, as transformers.js has them. `progress` is 0…100; `loaded` and `total` are bytes. */
export type ProgressInfo =
  | { status: "initiate" | "download"; name: string; file: string }
  | { status: "progress"; name: string; file: string; loaded: number; total: number; progress: number }
  | { status: "done"; name: string; file: string }
  | { status: "progress_total"; name: string; loaded: number; total: number; progress: number }
  | { status: "ready"; name?: string };

/** One entry of a model's map: a module that is loaded as a whole, in forward order. */
export interface LayerInfo {
  /** As the checkpoint names it, e.g. `model.layers.3`. */
  name: string;
  device: Device;
  state: "absent" | "coming" | "resident";
  /** The module's weights, in bytes as they lie on the device. */
  bytes: number;
  /** How many of them are there. */
  resident_bytes: number;
}

export interface AdapterStats {
  vendor: string;
  architecture: string;
  description: string;
  shader_f16: boolean;
  subgroups: boolean;
}

/** What a model costs and has done so far. Sizes are bytes. */
export interface ModelStats {
  /** null: the model has no GPU. */
  adapter: AdapterStats | null;
  /** Why it has none, where that wasn't asked for. */
  without_gpu: string | null;
  /** The kernels' variant, e.g. "packed bf16". */
  kernels: string;
  /** All of the model's GPU buffers: weights, KV cache, scratch. */
  gpu_bytes: number;
  /** The most that they ever were. */
  peak_gpu_bytes: number;
  gpu_buffers: number;
  /**
   * Kept for all that isn't weights: KV cache, activations, what is on its way. It grows with the texts; where `max_memory` limits the
   * GPU's share, weights make room for it.
   */
  kept_gpu_bytes: number;
  /** Weights in CPU memory. */
  held_bytes: number;
  /** GPU devices that were lost, and replaced. */
  device_losses: number;
  /** The weights of the whole model, as they lie on the device. */
  weight_bytes: number;
  /** The weights that are on their device by now. */
  resident_bytes: number;
  /** Taken from the network since `from_pretrained`, headers included. */
  fetched_bytes: number;
  requests: number;
  /** Taken from the cache since `from_pretrained`, headers included. */
  cache_read_bytes: number;
  /** Put into the cache. */
  cache_written_bytes: number;
  /** The most bytes of weights that ever lay in memory on their way to the GPU. */
  peak_staging_bytes: number;
  /** The engine's WebAssembly memory, which never shrinks. */
  wasm_memory_bytes: number;
  /** Threads that compute what is in CPU memory: more than one where the page is cross-origin isolated. */
  cpu_threads: number;
  /** Whether it computes by fused multiply-adds: where the browser has relaxed-simd. */
  cpu_fused: boolean;
  dispatches_per_token: number;
  /** Tokens of prompts that have run: not those that the text before had begun with, whose keys and values were still there. */
  prefilled_tokens: number;
  encode_us_per_token: number;
}

/** A tensor of a state dict. */
export interface EngineTensor {
  name: string;
  /** As safetensors calls it. */
  dtype: string;
  shape: number[];
  data: Uint8Array<ArrayBufferLike>;
}

/** What a model is loaded for, which decides its head. */
export type Task =
  | "base"
  | "causal-lm"
  | "masked-lm"
  | "sequence-classification"
  | "token-classification"
  | "question-answering"
  | "image-classification"
  | "seq2seq-lm"
  | "speech-seq2seq"
  | "text-projection"
  | "vision-projection";

export interface EngineLoadOptions extends HubOptions {
  task?: Task;
  /** A JSON array of architectures besides those that are known. */
  architectures?: string;
  /** A config.json's text, to be taken instead of the repo's. */
  config_json?: string;
  /** Another source, whose config is to be taken. */
  config_source?: string | object;
  /** A JSON object of keys that go before the config's. */
  config_overrides?: string;
  /** The weights; the source is then null. */
  state_dict?: EngineTensor[];
  variant?: string;
  use_safetensors?: boolean;
  from_flax?: boolean;
  ignore_mismatched_sizes?: boolean;
  seed?: number;
  dtype?: "auto" | "float16" | "bfloat16" | "float32";
  /** The integers that linear layers' weights are rounded to. */
  round_to?: "int8" | "int4";
  /** A JSON array of the modules that are not. */
  modules_to_not_convert?: string;
  /** A JSON object of modules and devices. */
  device_map?: string;
  /** A JSON object of devices and sizes. */
  max_memory?: string;
  execution_device?: "0" | "cpu";
  requires_gpu?: boolean;
  allow_software_gpu?: boolean;
  prefetch?: boolean;
  /** Starts workers that compute beside this thread, when some of the model is to live in CPU memory; gives the memories of those. */
  hire?: (module: WebAssembly.Module) => Promise<SharedArrayBuffer[]>;
  device?: GPUDevice;
  signal?: AbortSignal;
  progress_callback?: (event: ProgressInfo) => void;
}

/** How a text is read beside its ids, of a model without an encoder that it is written from. */
export interface EngineTextOptions {
  /** Rows in the place of the first ids' embeddings. */
  inputs_embeds?: Float32Array;
  /** Positions of the first ids. */
  position_ids?: Uint32Array;
}

export interface EngineGenerateOptions extends EngineDecoderOptions, EngineTextOptions {
  max_new_tokens?: number;
  max_length?: number;
  min_new_tokens?: number;
  min_length?: number;
  eos_token_id?: number | number[];
  pad_token_id?: number;
  bos_token_id?: number;
  do_sample?: boolean;
  temperature?: number;
  top_k?: number;
  top_p?: number;
  min_p?: number;
  seed?: number;
  repetition_penalty?: number;
  no_repeat_ngram_size?: number;
  bad_words_ids?: number[][];
  renormalize_logits?: boolean;
  suppress_tokens?: number[];
  begin_suppress_tokens?: number[];
  num_beams?: number;
  num_return_sequences?: number;
  length_penalty?: number;
  early_stopping?: boolean | "never";
  forced_bos_token_id?: number;
  forced_eos_token_id?: number | number[];
  return_timestamps?: boolean;
  no_timestamps_token_id?: number;
  max_initial_timestamp_index?: number;
  /** Runs as soon as each new id is known; returning false makes it the last one. */
  on_token?: (id: number) => boolean;
  signal?: AbortSignal;
}

/** Of a model that reads with an encoder; the ids beside it are what it reads, and none where it reads sound. */
export interface EngineDecoderOptions {
  /** The text's own ids, or how it begins. */
  decoder_input_ids?: Uint32Array;
  /** `[mels][frames]` */
  input_features?: Float32Array;
}

export interface EngineForwardOptions extends EngineDecoderOptions, EngineTextOptions {
  /** How many of the first ids are but read. */
  past?: number;
  /** An image, of a model that reads such; there are no ids then. */
  pixel_values?: EngineImage;
  token_type_ids?: Uint32Array;
  all_logits?: boolean;
  output_hidden_states?: boolean;
  output_attentions?: boolean;
  signal?: AbortSignal;
}

/** Numbers in row-major order. */
export interface EngineArray {
  dims: number[];
  data: Float32Array;
}

/** An image's numbers, `[channels, height, width]`. */
export type EngineImage = EngineArray;

/** What a forward pass of one text gives, by its name in transformers; `hidden_states.0` and on where they were asked for. */
export type EngineOutput = Record<string, EngineArray>;

export interface EngineModel {
  class_name(): string;
  /** What a forward pass takes. */
  input_names(): string[];
  /** How many tokens of a text it can read, if there is a limit. */
  max_positions(): number | undefined;
  loading_info(): LoadingInfo;
  load_sharded_checkpoint(
    source: string | object,
    options: HubOptions & { strict?: boolean; prefer_safe?: boolean; signal?: AbortSignal },
  ): Promise<IncompatibleKeys>;
  config(): string;
  generation_config(): string | undefined;
  hf_device_map(): Record<string, Device>;
  /** Why the model is on the CPU alone, where that was not asked for. */
  without_gpu(): string | undefined;
  layers(): LayerInfo[];
  stats(): ModelStats;
  get_memory_footprint(): number;
  ready(): Promise<void>;
  forward(input_ids: Uint32Array, options: EngineForwardOptions): Promise<EngineOutput>;
  generate(input_ids: Uint32Array, options: EngineGenerateOptions): Promise<Uint32Array>;
  beam_search(input_ids: Uint32Array, options: Omit<EngineGenerateOptions, "on_token">): Promise<Uint32Array[]>;
  dispose(): void;
  free(): void;
}

/** Makes the spectrograms that a preprocessor_config.json, whose text it is made of, describes. */
export interface EngineFeatureExtractor {
  sampling_rate(): number;
  /** Seconds. */
  chunk_length(): number;
  /** `[mels, frames]` */
  extract(samples: Float32Array): EngineArray;
}

export interface EngineModule {
  default(input?: {
    module_or_path: URL | string | Uint8Array | WebAssembly.Module;
  }): Promise<{ readonly memory: WebAssembly.Memory }>;
  /** Computes on the CPU by these loops from now on. */
  use_fused(loops: WebAssembly.Exports): void;
  /** Carries out what comes through a memory, until that is closed. */
  serve_hand(memory: SharedArrayBuffer): void;
  load_config(source: string | object, options: HubOptions & { signal?: AbortSignal }): Promise<string>;
  /** Small texts of a repo, all at one commit; undefined where it lacks a file. */
  read_files(
    source: string | object,
    paths: string[],
    options: HubOptions & { signal?: AbortSignal },
  ): Promise<(string | undefined)[]>;
  /** A small tensor of a repo's checkpoint as float32; undefined where there is none of that name. */
  read_tensor(
    source: string | object,
    name: string,
    options: HubOptions & { variant?: string; use_safetensors?: boolean; signal?: AbortSignal },
  ): Promise<EngineArray | undefined>;
  /** JSON of an `HFCacheInfo`. */
  scan_cache(cache_dir: string): Promise<string>;
  delete_cached(cache_dir: string, repo_id: string, endpoint?: string, revision?: string): Promise<void>;
  clear_cache(cache_dir: string): Promise<void>;
  FeatureExtractor: new (config_json: string) => EngineFeatureExtractor;
  Model: { from_pretrained(source: string | object | null, options: EngineLoadOptions): Promise<EngineModel> };
}

/** Which repo to read, as whom, and what the cache may do. */
export interface HubOptions extends EngineCacheOptions {
  endpoint?: string;
  revision?: string;
  token?: string;
  subfolder?: string;
}

/** A tokenizer of the text wasm (`wasm/text/text.js`). */
export interface TextTokenizer {
  encode(
    text: string,
    text_pair: string | undefined,
    add_special_tokens: boolean,
    max_length: number | undefined,
  ): { ids: Uint32Array; type_ids: Uint32Array; attention_mask: Uint32Array };
  decode(ids: Uint32Array, skip_special_tokens: boolean): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  apply_chat_template(messages: readonly object[], options: Record<string, unknown>): string;
  all_special_ids(): Uint32Array;
  special_tokens(): Record<string, string | number | undefined>;
  config(): string;
  vocab_size(): number;
  src_lang(): string | undefined;
  set_src_lang(language: string): void;
}

export interface TextModule {
  default(input?: { module_or_path: URL | string | Uint8Array }): Promise<unknown>;
  Tokenizer: {
    from_pretrained(source: string | object, options: HubOptions & { signal?: AbortSignal }): Promise<TextTokenizer>;
    from_files(tokenizer_json: Uint8Array, tokenizer_config_json?: Uint8Array, chat_template?: string): TextTokenizer;
  };
}
