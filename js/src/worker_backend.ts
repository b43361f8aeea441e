import type { Backend, ForwardOptions, GenerateOptions, LoadOptions, ModelFacts, ShardedOptions } from "./backend.js";
import { Client } from "./channel.js";
import type { EngineOutput, LayerInfo, ModelStats, ProgressInfo } from "./engine.js";
import { as_layerline_error, LayerlineError } from "./errors.js";
import type { IncompatibleKeys } from "./loading_info.js";
import { wasm_url } from "./wasm.js";

/** The engine in a worker of its own, so that neither loading nor encoding holds up the page. */
export class WorkerBackend implements Backend {
  readonly facts: ModelFacts;
  readonly #worker: Worker;
  readonly #client: Client;

  private constructor(worker: Worker, client: Client, facts: ModelFacts) {
    this.#worker = worker;
    this.#client = client;
    this.facts = facts;
  }

  static async load(
    source: string | object | null,
    options: LoadOptions,
    progress_callback: ((event: ProgressInfo) => void) | undefined,
    signal: AbortSignal | undefined,
  ): Promise<WorkerBackend> {
    const worker = start_worker();
    const client = new Client(worker);
    worker.onerror = (event) => {
      // A script that can't be fetched gives an event without a message.
      client.close(event.message ? new LayerlineError("INTERNAL", `The worker failed: ${event.message}`) : no_worker());
      worker.terminate();
    };
    try {
      const facts = await client.call<ModelFacts>("load", [source, options, wasm_url("engine")], {
        signal,
        on_event: progress_callback,
        lasting: true,
      });
      return new WorkerBackend(worker, client, facts);
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  layers(): Promise<LayerInfo[]> {
    return this.#client.call("layers", []);
  }

  stats(): Promise<ModelStats> {
    return this.#client.call("stats", []);
  }

  get_memory_footprint(): Promise<number> {
    return this.#client.call("get_memory_footprint", []);
  }

  ready(): Promise<void> {
    return this.#client.call("ready", []);
  }

  load_sharded_checkpoint(
    source: string | object,
    options: ShardedOptions,
    signal?: AbortSignal,
  ): Promise<IncompatibleKeys> {
    return this.#client.call("load_sharded_checkpoint", [source, options], { signal });
  }

  forward(ids: Uint32Array, options: ForwardOptions, signal?: AbortSignal): Promise<EngineOutput> {
    return this.#client.call("forward", [ids, options], { signal });
  }

  generate(
    ids: Uint32Array,
    options: GenerateOptions,
    on_token: (id: number) => boolean,
    signal?: AbortSignal,
  ): Promise<Uint32Array> {
    return this.#client.call("generate", [ids, options], { signal, on_event: on_token });
  }

  beam_search(ids: Uint32Array, options: GenerateOptions, signal?: AbortSignal): Promise<Uint32Array[]> {
    return this.#client.call("beam_search", [ids, options], { signal });
  }

  async dispose(): Promise<void> {
    // Ending the worker frees everything too, but only when the browser gets to it. What the worker answers, or that
    // it has failed and answers nothing, changes nothing.
    await this.#client.call("dispose", []).catch(() => {});
    this.#client.close(new LayerlineError("DISPOSED", "The model was disposed of. Load it again to go on."));
    this.#worker.terminate();
  }
}

function start_worker(): Worker {
  try {
    // Written out as bundlers look for it.
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "layerline" });
  } catch (error) {
    throw no_worker(error);
  }
}

function no_worker(cause?: unknown): LayerlineError {
  const said = cause === undefined ? "" : ` (${as_layerline_error(cause).message})`;
  return new LayerlineError(
    "WORKER_UNAVAILABLE",
    `The worker ${new URL("./worker.js", import.meta.url).href} could not be started${said}. It must be served from ` +
      "the page's own origin and be allowed by worker-src; or load with worker: false.",
    { cause },
  );
}
