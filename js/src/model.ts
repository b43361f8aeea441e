import type { Backend } from "./backend.js";
import { Callable } from "./callable.js";
import { type GenerationConfig, type PretrainedConfig, parse_config } from "./config.js";
import type { Device, LayerInfo, ModelStats } from "./engine.js";
import { aborted, LayerlineError } from "./errors.js";
import { check_generation_options, type GenerateInputs, stopping } from "./generation_options.js";
import { type IdsLike, ids_tensor, normalise_prompt } from "./inputs.js";
import type { IncompatibleKeys } from "./loading_info.js";
import { check_keys } from "./options.js";
import { refuse_option } from "./refuse.js";
import { Tensor } from "./tensor.js";

/** The argument of `model.forward`, and of calling the model. */
export interface ModelInputs {
  input_ids: IdsLike;
  /** Zeros where `input_ids` has padding, which must be on the left; else ones. */
  attention_mask?: IdsLike | null;
  /** 1: logits of the last position only. 0, the default: of every position. */
  logits_to_keep?: 0 | 1;
  signal?: AbortSignal | null;
}

export interface CausalLMOutput {
  /** `[1, n, vocab]`; the rows of padding are zeros. */
  logits: Tensor<"float32">;
}

export interface BaseModelOutput {
  /** `[1, n, hidden]`; the rows of padding are zeros. */
  last_hidden_state: Tensor<"float32">;
}

// The call signature of PreTrainedModel; see Callable.
export interface PreTrainedModel<Output = CausalLMOutput> {
  // biome-ignore lint/style/useShorthandFunctionType: a type can't be merged with a class
  (inputs: ModelInputs): Promise<Output>;
}

/** A model whose weights stream in from its repo; `Output` is what a forward pass gives. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class PreTrainedModel<Output = CausalLMOutput> extends Callable {
  /** The repo's config.json. */
  readonly config: PretrainedConfig;
  /** The repo's generation_config.json; empty if there is none. */
  readonly generation_config: GenerationConfig;
  /** Where each module runs. */
  readonly hf_device_map: Record<string, Device>;
  readonly #backend: Backend;
  /** How a forward pass's rows are called. */
  readonly #output: "logits" | "last_hidden_state";
  // A model has one KV cache, so its forward passes take turns.
  #turn: Promise<unknown> = Promise.resolve();
  #disposed: Promise<void> | undefined;

  /** @internal */
  constructor(backend: Backend, output: "logits" | "last_hidden_state") {
    super();
    this.#backend = backend;
    this.#output = output;
    const { config, generation_config, hf_device_map } = backend.facts;
    this.config = parse_config(config, "config.json");
    this.generation_config =
      generation_config === undefined ? {} : parse_config(generation_config, "generation_config.json");
    this.hf_device_map = hf_device_map;
  }

  /** @internal */
  override _call(inputs: ModelInputs): Promise<Output> {
    return this.forward(inputs);
  }

  /**
   * One forward pass, from an empty cache.
   *
   * @throws {LayerlineError} INPUT_IDS for ids outside the vocabulary, or more than one sequence
   */
  async forward(inputs: ModelInputs): Promise<Output> {
    const { input_ids, attention_mask, logits_to_keep = 0 } = inputs;
    check_keys(inputs, ["input_ids", "attention_mask", "logits_to_keep", "signal"], { use_cache: [true, false] }, {});
    if (logits_to_keep !== 0 && logits_to_keep !== 1) {
      refuse_option("logits_to_keep", logits_to_keep, "It must be 0 (every position) or 1 (the last one).");
    }
    const signal = inputs.signal ?? undefined;
    const prompt = normalise_prompt(input_ids, attention_mask);
    const all = logits_to_keep === 0;
    const rows = await this.#in_turn(signal, () => this.#backend.forward(prompt.ids, all, signal));
    const width = rows.length / (all ? prompt.ids.length : 1);
    if (!all || prompt.padding === 0) return this.#named(rows, width);
    const padded = new Float32Array(prompt.given.length * width);
    padded.set(rows, prompt.padding * width);
    return this.#named(padded, width);
  }

  #named(rows: Float32Array<ArrayBufferLike>, width: number): Output {
    return { [this.#output]: new Tensor("float32", rows, [1, rows.length / width, width]) } as Output;
  }

  /**
   * Continues a prompt.
   *
   * @returns the prompt and the new ids, `[1, n]`
   * @throws {LayerlineError} ABORTED when `signal` fires; to keep what is there, stop by `stopping_criteria` instead
   */
  async generate(inputs: GenerateInputs): Promise<Tensor<"int64">> {
    const options = check_generation_options(inputs);
    const { streamer, stopping_criteria, attention_mask } = inputs;
    const signal = inputs.signal ?? undefined;
    const input_ids = inputs.input_ids ?? inputs.inputs;
    if (input_ids == null) throw new LayerlineError("INPUT_IDS", "generate needs input_ids.");
    const prompt = normalise_prompt(input_ids, attention_mask);
    const stops_here = stopping(stopping_criteria);

    const output = Array.from(prompt.given);
    let stopped = false;
    let thrown: { error: unknown } | undefined;
    const on_token = (id: number): boolean => {
      // Ids that a worker made before it heard of the stop are not part of the output.
      if (stopped) return false;
      output.push(id);
      try {
        streamer?.put([[BigInt(id)]]);
        stopped = stops_here?.(output.slice()) ?? false;
      } catch (error) {
        thrown = { error };
        stopped = true;
      }
      return !stopped;
    };

    await this.#in_turn(signal, () => {
      streamer?.put([Array.from(prompt.given, BigInt)]);
      return this.#backend.generate(prompt.ids, options, on_token, signal);
    });
    // What the page's own code threw is the page's own error.
    if (thrown) throw thrown.error;
    streamer?.end();
    return ids_tensor(output);
  }

  /** Resolves when every weight is on its device. */
  async ready(): Promise<void> {
    this.#check_alive();
    await this.#backend.ready();
  }

  /** The modules in forward order, with how much of each has arrived. */
  async layers(): Promise<LayerInfo[]> {
    this.#check_alive();
    return this.#backend.layers();
  }

  /**
   * Takes other weights, of exactly this model's names, from a sharded checkpoint; see {@link load_sharded_checkpoint}.
   *
   * @internal
   */
  async load_sharded(
    source: string | object,
    options: { strict: boolean; prefer_safe: boolean } & Parameters<Backend["load_sharded_checkpoint"]>[1],
    signal: AbortSignal | undefined,
  ): Promise<IncompatibleKeys> {
    return this.#in_turn(signal, () => this.#backend.load_sharded_checkpoint(source, options, signal));
  }

  /** What the model costs and has done so far. */
  async stats(): Promise<ModelStats> {
    this.#check_alive();
    return this.#backend.stats();
  }

  /** Bytes of all parameters and buffers; with `by_device`, of those on each device. */
  async get_memory_footprint(options?: { by_device?: false }): Promise<number>;
  async get_memory_footprint(options: { by_device: true }): Promise<Record<Device, number>>;
  async get_memory_footprint({ by_device = false } = {}): Promise<number | Record<Device, number>> {
    this.#check_alive();
    if (!by_device) return this.#backend.get_memory_footprint();
    const bytes: Record<Device, number> = {};
    for (const layer of await this.#backend.layers()) bytes[layer.device] = (bytes[layer.device] ?? 0) + layer.bytes;
    return bytes;
  }

  /** Frees the GPU's memory and ends the model's worker. Every other call then rejects with DISPOSED. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#backend.dispose();
    return this.#disposed;
  }

  #check_alive(): void {
    if (this.#disposed) throw new LayerlineError("DISPOSED", "The model was disposed of. Load it again to go on.");
  }

  async #in_turn<R>(signal: AbortSignal | undefined, run: () => Promise<R>): Promise<R> {
    const before = this.#turn;
    const mine = (async () => {
      await before;
      if (signal?.aborted) throw aborted(signal);
      this.#check_alive();
      return run();
    })();
    this.#turn = mine.catch(() => undefined);
    return mine;
  }
}
