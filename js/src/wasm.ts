import * as engine_glue from "../wasm/engine/engine.js";
import * as text_glue from "../wasm/text/text.js";
import type { EngineModule, TextModule } from "./engine.js";
import { env, type WasmPaths } from "./env.js";
import { as_layerline_error, LayerlineError } from "./errors.js";
import { fused_loops } from "./fused.js";

// Written out in full each, since a bundler finds an asset by this very expression. The glue is imported statically:
// it is small beside the wasm, and a dynamic import would keep bundlers from making a classic worker of this code.
const DEFAULTS: Required<WasmPaths> = {
  engine: new URL("../wasm/engine/engine_bg.wasm", import.meta.url),
  text: new URL("../wasm/text/text_bg.wasm", import.meta.url),
};

const MODULES = { engine: engine_glue as unknown as EngineModule, text: text_glue as unknown as TextModule };
type Modules = typeof MODULES;

const initialised: { [K in keyof Modules]?: Promise<Modules[K]> } = {};

/** Where a wasm file is, after `env.wasm_paths`. */
export function wasm_url(name: keyof Modules): string {
  const path = env.wasm_paths[name] ?? DEFAULTS[name];
  return path instanceof URL ? path.href : path;
}

/** The engine, fetched and compiled on the first call. */
export function engine(url = wasm_url("engine")): Promise<EngineModule> {
  return load("engine", url);
}

/** The engine of a module that was compiled elsewhere. */
export async function engine_of(module: WebAssembly.Module): Promise<EngineModule> {
  await start_engine(module);
  return MODULES.engine;
}

async function start_engine(module_or_path: string | Uint8Array | WebAssembly.Module): Promise<void> {
  const { memory } = await MODULES.engine.default({ module_or_path });
  const loops = await fused_loops(memory);
  if (loops !== undefined) MODULES.engine.use_fused(loops);
}

/** Tokenizers and chat templates, fetched and compiled on the first call. */
export function text(url = wasm_url("text")): Promise<TextModule> {
  return load("text", url);
}

function load<K extends keyof Modules>(name: K, url: string): Promise<Modules[K]> {
  const running = initialised[name] as Promise<Modules[K]> | undefined;
  if (running) return running;
  const started = initialise(name, url);
  (initialised as Record<K, Promise<Modules[K]>>)[name] = started;
  // A page that was offline for a moment may try again.
  started.catch(() => delete initialised[name]);
  return started;
}

async function initialise<K extends keyof Modules>(name: K, url: string): Promise<Modules[K]> {
  const module: Modules[K] = MODULES[name];
  try {
    const module_or_path = read_in_node(url) ?? url;
    await (name === "engine" ? start_engine(module_or_path) : module.default({ module_or_path }));
  } catch (error) {
    const said = as_layerline_error(error).message;
    throw new LayerlineError(
      "WASM_UNAVAILABLE",
      `${url} could not be loaded: ${said}. Serve the file there (as application/wasm) or set env.wasm_paths.${name}; ` +
        "a Content-Security-Policy needs 'wasm-unsafe-eval' in script-src.",
      { cause: error },
    );
  }
  return module;
}

/** The bytes of a local file in Node, whose fetch knows no file: URLs; undefined anywhere else. */
function read_in_node(url: string): Uint8Array | undefined {
  // Not an import: bundlers would resolve it for the browser too.
  const fs = globalThis.process?.getBuiltinModule?.("node:fs");
  if (fs === undefined || !url.startsWith("file:")) return undefined;
  return fs.readFileSync(new URL(url));
}
