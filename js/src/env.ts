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
}

export const env: Env = {
  version: "0.1.0",
  endpoint: "https://huggingface.co",
  wasm_paths: {},
};
