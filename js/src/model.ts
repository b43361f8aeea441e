import { type Backend, InlineBackend } from "./backend.js";
import { Callable } from "./callable.js";
import { type GenerationConfig, type PretrainedConfig, parse_config } from "./config.js";
import type { Device, LayerInfo, ModelStats } from "./engine.js";
import { aborted, LayerlineError } from "./errors.js";
import { check_generation_options, type GenerateInputs, stopping } from "./generation_options.js";
import { type IdsLike, ids_tensor, normalise_prompt } from "./inputs.js";
import { check_id, check_keys, check_model_options, type PretrainedModelOptions, refuse_option } from "./options.js";
import { Tensor } from "./tensor.js";
import { WorkerBackend } from "./worker_backend.js";

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

// The call signature of PreTrainedModel; see Callable.
export interface PreTrainedModel {
  // biome-ignore lint/style/useShorthandFunctionType: a type can't be merged with a class
  (inputs: ModelInputs): Promise<CausalLMOutput>;
}

/** A model whose weights stream in from its repo. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class PreTrainedModel extends Callable {
  /** The repo's config.json. */
  readonly config: PretrainedConfig;
  /** The repo's generation_config.json; empty if there is none. */
  readonly generation_config: GenerationConfig;
  /** Where each module runs. */
  readonly hf_device_map: Record<string, Device>;
  readonly #backend: Backend;
  // A model has one KV cache, so its forward passes take turns.
  #turn: Promise<unknown> = Promise.resolve();
  #disposed: Promise<void> | undefined;

  /** @internal */
  constructor(backend: Backend) {
    super();
    this.#backend = backend;
    const { config, generation_config, hf_device_map } = backend.facts;
    this.config = parse_config(config, "config.json");
    this.generation_config =
      generation_config === undefined ? {} : parse_config(generation_config, "generation_config.json");
    this.hf_device_map = hf_device_map;
  }

  /** @internal */
  override _call(inputs: ModelInputs): Promise<CausalLMOutput> {
    return this.forward(inputs);
  }

  /**
   * One forward pass, from an empty cache.
   *
   * @throws {LayerlineError} INPUT_IDS for ids outside the vocabulary, or more than one sequence
   */
  async forward(inputs: ModelInputs): Promise<CausalLMOutput> {
    const { input_ids, attention_mask, logits_to_keep = 0 } = inputs;
    check_keys(inputs, ["input_ids", "attention_mask", "logits_to_keep", "signal"], { use_cache: [true, false] }, {});
    if (logits_to_keep !== 0 && logits_to_keep !== 1) {
      refuse_option("logits_to_keep", logits_to_keep, "It must be 0 (every position) or 1 (the last one).");
    }
    const signal = inputs.signal ?? undefined;
    const prompt = normalise_prompt(input_ids, attention_mask);
    const all = logits_to_keep === 0;
    const rows = await this.#in_turn(signal, () => this.#backend.forward(prompt.ids, all, signal));
    const vocab = rows.length / (all ? prompt.ids.length : 1);
    if (!all || prompt.padding === 0) return { logits: new Tensor("float32", rows, [1, rows.length / vocab, vocab]) };
    const padded = new Float32Array(prompt.given.length * vocab);
    padded.set(rows, prompt.padding * vocab);
    return { logits: new Tensor("float32", padded, [1, prompt.given.length, vocab]) };
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

  /** What the model costs and has done so far. */
  async stats(): Promise<ModelStats> {
    this.#check_alive();
    return this.#backend.stats();
  }

  /** Bytes of all parameters and buffers. */
  async get_memory_footprint(): Promise<number> {
    this.#check_alive();
    return this.#backend.get_memory_footprint();
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

function on_a_page(): boolean {
  return typeof window !== "undefined" && typeof document !== "undefined" && typeof Worker !== "undefined";
}

export const AutoModelForCausalLM = {
  /**
   * Opens a repo's model. Resolves as soon as its config, its checkpoint's headers and the plan are known, which takes
   * kilobytes; the weights then stream in behind it (see {@link PreTrainedModel.ready}).
   *
   * @param id the repo, e.g. "HuggingFaceTB/SmolLM2-135M-Instruct"
   */
  async from_pretrained(id: string, options: PretrainedModelOptions = {}): Promise<PreTrainedModel> {
    const checked = check_model_options(options, on_a_page());
    if (checked.worker && typeof Worker === "undefined") {
      refuse_option("worker", true, "There are no workers here; leave it out to run on this thread.");
    }
    const report = checked.progress_callback;
    const progress_callback = report && ((event: Parameters<typeof report>[0]) => call_safely(() => report(event)));
    const load = checked.worker ? WorkerBackend.load : InlineBackend.load;
    const backend = await load(check_id(id), { ...checked.hub, ...checked.engine }, progress_callback, checked.signal);
    return new PreTrainedModel(backend);
  },
};

/** An error in a progress bar must not end a download: it is reported as an uncaught one is. */
function call_safely(call: () => void): void {
  try {
    call();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else console.error(error);
  }
}
