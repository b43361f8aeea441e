/** Where the package's two wasm files are served from, if not beside its scripts. */
export interface WasmPaths {
  engine?: string | URL;
  text?: string | URL;
}

/** Settings of the whole package. Set them before the first `from_pretrained`. */
export interface Env {
  readonly version: string;
  /** The Hub, or a mirror of it; the `endpoint` option of `from_pretrained` goes before it. */
  endpoint: string;
  wasm_paths: WasmPaths;
  /** Whether what has come is kept in this browser, and read from there the next time. */
  use_browser_cache: boolean;
  /**
   * How many threads compute what is in CPU memory, where the page is cross-origin isolated; elsewhere one does. Default: a thread for
   * each core, eight at most.
   */
  num_threads: number | undefined;
  /**
   * Whether WebGPU counts as a GPU where it is a program on the CPU (SwiftShader, lavapipe). Default false: the CPU computes itself, ten
   * times as fast. A model whose options name the GPU takes it all the same.
   */
  allow_software_gpu: boolean;
  /** The name of the cache; the `cache_dir` option of `from_pretrained` goes before it. */
  cache_dir: string;
}

export const env: Env = {
  version: "0.1.0",
  endpoint: "https://huggingface.co",
  wasm_paths: {},
  use_browser_cache: true,
  num_threads: undefined,
  allow_software_gpu: false,
  cache_dir: "layerline",
};
