import type {
  Device,
  EngineForwardOptions,
  EngineGenerateOptions,
  EngineLoadOptions,
  EngineModel,
  EngineOutput,
  LayerInfo,
  ModelStats,
  ProgressInfo,
} from "./engine.js";
import { aborted, as_layerline_error } from "./errors.js";
import { Hands } from "./hands.js";
import type { IncompatibleKeys, LoadingInfo } from "./loading_info.js";
import { engine } from "./wasm.js";

/** What is known of a model as soon as `from_pretrained` resolves. */
export interface ModelFacts {
  class_name: string;
  input_names: string[];
  max_positions: number | undefined;
  loading_info: LoadingInfo;
  config: string;
  generation_config: string | undefined;
  hf_device_map: Record<string, Device>;
  without_gpu: string | undefined;
}

export type LoadOptions = Omit<EngineLoadOptions, "signal" | "progress_callback" | "hire"> & {
  /** How many threads compute what is in CPU memory, where they can. */
  threads?: number;
};
export type ShardedOptions = Omit<Parameters<EngineModel["load_sharded_checkpoint"]>[1], "signal">;
export type ForwardOptions = Omit<EngineForwardOptions, "signal">;
export type GenerateOptions = Omit<EngineGenerateOptions, "signal" | "on_token">;

/** A loaded model, in this thread or in a worker. Every rejection is a LayerlineError. */
export interface Backend {
  readonly facts: ModelFacts;
  layers(): Promise<LayerInfo[]>;
  stats(): Promise<ModelStats>;
  get_memory_footprint(): Promise<number>;
  ready(): Promise<void>;
  load_sharded_checkpoint(
    source: string | object,
    options: ShardedOptions,
    signal?: AbortSignal,
  ): Promise<IncompatibleKeys>;
  /** What comes out for one text without padding. */
  forward(ids: Uint32Array, options: ForwardOptions, signal?: AbortSignal): Promise<EngineOutput>;
  /**
   * The prompt and the new ids.
   *
   * @param on_token gets each new id; returning false stops. From a worker the answer takes a message to arrive, so
   * that more ids than wanted may be in the result: the caller cuts them off.
   */
  generate(
    ids: Uint32Array,
    options: GenerateOptions,
    on_token: (id: number) => boolean,
    signal?: AbortSignal,
  ): Promise<Uint32Array>;
  /** The new ids of the best texts that grow side by side, best first. */
  beam_search(ids: Uint32Array, options: GenerateOptions, signal?: AbortSignal): Promise<Uint32Array[]>;
  dispose(): Promise<void>;
}

/** The engine in this very thread. */
export class InlineBackend implements Backend {
  readonly facts: ModelFacts;
  readonly #model: EngineModel;
  readonly #hands: Hands | undefined;

  private constructor(model: EngineModel, hands: Hands | undefined) {
    this.#model = model;
    this.#hands = hands;
    this.facts = {
      class_name: model.class_name(),
      input_names: model.input_names(),
      max_positions: model.max_positions(),
      loading_info: model.loading_info(),
      config: model.config(),
      generation_config: model.generation_config(),
      hf_device_map: model.hf_device_map(),
      without_gpu: model.without_gpu(),
    };
  }

  static async load(
    source: string | object | null,
    { threads = 1, ...options }: LoadOptions,
    progress_callback: ((event: ProgressInfo) => void) | undefined,
    signal: AbortSignal | undefined,
    wasm_url?: string,
  ): Promise<InlineBackend> {
    const hands = Hands.of(threads);
    return layerline_errors(async () => {
      if (signal?.aborted) throw aborted(signal);
      const { Model } = await engine(wasm_url);
      try {
        const model = await Model.from_pretrained(source, {
          ...options,
          ...(hands && { hire: (module) => hands.hire(module) }),
          ...(progress_callback && { progress_callback }),
          ...(signal && { signal }),
        });
        return new InlineBackend(model, hands);
      } catch (error) {
        hands?.close();
        throw error;
      }
    });
  }

  layers(): Promise<LayerInfo[]> {
    return layerline_errors(() => this.#model.layers());
  }

  stats(): Promise<ModelStats> {
    return layerline_errors(() => this.#model.stats());
  }

  get_memory_footprint(): Promise<number> {
    return layerline_errors(() => this.#model.get_memory_footprint());
  }

  ready(): Promise<void> {
    return layerline_errors(() => this.#model.ready());
  }

  load_sharded_checkpoint(
    source: string | object,
    options: ShardedOptions,
    signal?: AbortSignal,
  ): Promise<IncompatibleKeys> {
    return layerline_errors(() =>
      this.#model.load_sharded_checkpoint(source, { ...options, ...(signal && { signal }) }),
    );
  }

  forward(ids: Uint32Array, options: ForwardOptions, signal?: AbortSignal): Promise<EngineOutput> {
    return layerline_errors(() => this.#model.forward(ids, { ...options, ...(signal && { signal }) }));
  }

  generate(
    ids: Uint32Array,
    options: GenerateOptions,
    on_token: (id: number) => boolean,
    signal?: AbortSignal,
  ): Promise<Uint32Array> {
    return layerline_errors(() => this.#model.generate(ids, { ...options, on_token, ...(signal && { signal }) }));
  }

  beam_search(ids: Uint32Array, options: GenerateOptions, signal?: AbortSignal): Promise<Uint32Array[]> {
    return layerline_errors(() => this.#model.beam_search(ids, { ...options, ...(signal && { signal }) }));
  }

  dispose(): Promise<void> {
    return layerline_errors(() => {
      this.#model.dispose();
      this.#hands?.close();
    });
  }
}

async function layerline_errors<R>(call: () => R | Promise<R>): Promise<R> {
  try {
    return await call();
  } catch (error) {
    throw as_layerline_error(error);
  }
}
