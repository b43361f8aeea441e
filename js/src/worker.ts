/** The worker's entry: one model, served to the page that started it. */

import {
  type ForwardOptions,
  type GenerateOptions,
  InlineBackend,
  type LoadOptions,
  type ModelFacts,
  type ShardedOptions,
} from "./backend.js";
import { type CallContext, type Methods, type Port, serve } from "./channel.js";
import { LayerlineError } from "./errors.js";

let loaded: InlineBackend | undefined;

function model(): InlineBackend {
  if (loaded === undefined) throw new LayerlineError("INTERNAL", "The worker has no model yet.");
  return loaded;
}

const methods = {
  async load(
    { emit, signal }: CallContext,
    source: string | object | null,
    options: LoadOptions,
    wasm_url: string,
  ): Promise<ModelFacts> {
    loaded = await InlineBackend.load(source, options, emit, signal, wasm_url);
    return loaded.facts;
  },
  layers: () => model().layers(),
  stats: () => model().stats(),
  get_memory_footprint: () => model().get_memory_footprint(),
  ready: () => model().ready(),
  load_sharded_checkpoint: ({ signal }: CallContext, source: string | object, options: ShardedOptions) =>
    model().load_sharded_checkpoint(source, options, signal),
  forward: ({ signal }: CallContext, ids: Uint32Array, options: ForwardOptions) =>
    model().forward(ids, options, signal),
  generate: ({ emit, signal }: CallContext, ids: Uint32Array, options: GenerateOptions) =>
    model().generate(ids, options, emit, signal),
  beam_search: ({ signal }: CallContext, ids: Uint32Array, options: GenerateOptions) =>
    model().beam_search(ids, options, signal),
  dispose: () => loaded?.dispose(),
} satisfies Methods;

// The DOM's types are those of a page; in a worker the global scope is itself the port.
serve(globalThis as unknown as Port, methods);
