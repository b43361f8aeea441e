import type { Backend } from "./backend.js";
import { Callable } from "./callable.js";
import { type GenerationConfig, type PretrainedConfig, parse_config } from "./config.js";
import type { Device, EngineOutput, LayerInfo, ModelStats, Task } from "./engine.js";
import { aborted, LayerlineError } from "./errors.js";
import { filler, search_of } from "./generation.js";
import { check_generation_options, type DictGenerateInputs, type GenerateInputs } from "./generation_options.js";
import type { GridLike } from "./grid.js";
import { check_image_inputs, type ImageInputs, image_batch } from "./image/image_inputs.js";
import { ids_tensor, type Sequence } from "./inputs.js";
import type { IncompatibleKeys } from "./loading_info.js";
import { loss_function } from "./loss.js";
import { check_model_inputs, type ModelInputs } from "./model_inputs.js";
import {
  type CausalLMOutput,
  model_output,
  type Seq2SeqLMOutput,
  seq2seq_output,
  type WithAttentions,
  type WithHiddenStates,
  type WithLoss,
  type WithSeq2SeqAttentions,
  type WithSeq2SeqHiddenStates,
} from "./outputs.js";
import { padding_warning } from "./padding.js";
import { DynamicCache } from "./past_key_values.js";
import { refuse_option } from "./refuse.js";
import { continuing_runs, past_of_runs, searched_texts, text_of, writing_runs } from "./runs.js";
import { check_seq2seq_inputs, type SpeechInputs } from "./seq2seq_inputs.js";
import { Tensor } from "./tensor.js";
import type { EngineText } from "./text_inputs.js";

/** What a forward pass gives: `Output`, what else was asked for, and a loss where there are labels. */
export type ForwardOutput<Output, Hidden, Labels, Attentions = false> = Output &
  (Hidden extends true ? (Output extends Seq2SeqLMOutput ? WithSeq2SeqHiddenStates : WithHiddenStates) : unknown) &
  (Attentions extends true ? (Output extends Seq2SeqLMOutput ? WithSeq2SeqAttentions : WithAttentions) : unknown) &
  ([Labels] extends [GridLike] ? WithLoss : unknown);

type ForwardInputs<Hidden, Labels, Attentions> = (ModelInputs | ImageInputs | SpeechInputs) & {
  output_hidden_states?: Hidden;
  output_attentions?: Attentions;
} & ({ labels?: Labels } | { start_positions?: Labels });

type Outputs = ReturnType<typeof model_output>;
type AnyOutput = Outputs | Record<string, Outputs[string] | DynamicCache>;

/** What `generate` gives with `return_dict_in_generate`. */
export interface GenerateOutput {
  /** The prompts and the new ids, as `generate` gives them without it. */
  sequences: Tensor<"int64">;
  /** All but the last token of each text, to be gone on from; not of an encoder-decoder, nor of texts that ids alone don't tell. */
  past_key_values?: DynamicCache;
}

/** What the engine is called with for one text, image or spectrogram. */
type EngineCall = { ids: Uint32Array } & Parameters<Backend["forward"]>[1];

// The call signature of PreTrainedModel; see Callable.
export interface PreTrainedModel<Output = CausalLMOutput> {
  // biome-ignore lint/style/useShorthandFunctionType: a type can't be merged with a class
  <
    Hidden extends boolean | null = false,
    Labels extends GridLike | null | undefined = undefined,
    Attentions extends boolean | null = false,
  >(
    inputs: ForwardInputs<Hidden, Labels, Attentions>,
  ): Promise<ForwardOutput<Output, Hidden, Labels, Attentions>>;
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
  readonly #task: Task;
  // A model has one KV cache, so its forward passes take turns.
  #turn: Promise<unknown> = Promise.resolve();
  #disposed: Promise<void> | undefined;
  readonly #warned = new Set<string>();

  /** @internal */
  constructor(backend: Backend, task: Task) {
    super();
    this.#backend = backend;
    this.#task = task;
    const { config, generation_config, hf_device_map } = backend.facts;
    this.config = parse_config(config, "config.json");
    this.generation_config =
      generation_config === undefined ? {} : parse_config(generation_config, "generation_config.json");
    this.hf_device_map = hf_device_map;
  }

  /**
   * What a forward pass takes, by transformers' names: `input_ids` with `token_type_ids` or without, `pixel_values` or
   * `input_features`; and `decoder_input_ids`.
   */
  get input_names(): readonly string[] {
    return this.#backend.facts.input_names;
  }

  /** How many tokens of a text it can read: it has learned no more positions. Infinity where it knows any. */
  get max_positions(): number {
    return this.#backend.facts.max_positions ?? Number.POSITIVE_INFINITY;
  }

  /** @internal */
  override _call(inputs: ModelInputs | ImageInputs | SpeechInputs): Promise<unknown> {
    return this.forward(inputs);
  }

  /**
   * A forward pass of each text, from an empty cache, or of each image or spectrogram.
   *
   * @throws {LayerlineError} INPUT_IDS for ids outside the vocabulary, or a mask with gaps; PIXEL_VALUES, INPUT_FEATURES for
   *   images or spectrograms of another size than the model's; LABELS
   */
  async forward<
    Hidden extends boolean | null = false,
    Labels extends GridLike | null | undefined = undefined,
    Attentions extends boolean | null = false,
  >(inputs: ForwardInputs<Hidden, Labels, Attentions>): Promise<ForwardOutput<Output, Hidden, Labels, Attentions>> {
    const output = await this.#forward_any(inputs);
    return output as ForwardOutput<Output, Hidden, Labels, Attentions>;
  }

  #forward_any(inputs: ModelInputs | ImageInputs | SpeechInputs): Promise<AnyOutput> {
    if (this.input_names.includes("pixel_values")) return this.#forward_images(inputs as ImageInputs);
    if (this.#has_encoder) return this.#forward_seq2seq(inputs as ModelInputs | SpeechInputs);
    return this.#forward_texts(inputs as ModelInputs);
  }

  /** Whether an encoder reads, and a decoder writes. */
  get #has_encoder(): boolean {
    return this.input_names.includes("decoder_input_ids");
  }

  get #reads_sound(): boolean {
    return this.input_names.includes("input_features");
  }

  async #forward_images(inputs: ImageInputs): Promise<AnyOutput> {
    const { images, more, signal } = check_image_inputs(inputs);
    const loss = loss_function(this.#task, inputs, image_batch(images.length), this.config);
    const calls = images.map((pixel_values) => ({ ids: new Uint32Array(), pixel_values, ...more }));
    const outputs = await this.#run_each(calls, signal);
    return with_loss(model_output(this.#task, image_batch(images.length, outputs), outputs, false), loss);
  }

  async #forward_seq2seq(inputs: ModelInputs | SpeechInputs): Promise<AnyOutput> {
    const { sources, written, more } = check_seq2seq_inputs(inputs, this.config, this.#reads_sound);
    const loss = loss_function(this.#task, inputs, written, this.config);
    const unmasked = (inputs as ModelInputs).attention_mask == null;
    if (sources.batch && unmasked) this.#warn_once(padding_warning(this.config, sources.batch));
    const calls = sources.rows.map((read, row) => ({
      ...read,
      ...more,
      decoder_input_ids: written.sequences[row]?.ids ?? new Uint32Array(),
    }));
    const outputs = await this.#run_each(calls, inputs.signal ?? undefined);
    return with_loss(seq2seq_output(this.#task, sources.batch, written, outputs), loss);
  }

  async #forward_texts(inputs: ModelInputs): Promise<AnyOutput> {
    const checked = check_model_inputs(inputs, this.#task, this.input_names);
    const { batch, texts, keeps, last_only, more, signal } = checked;
    const loss = loss_function(this.#task, inputs, batch, this.config);
    if (inputs.attention_mask == null && inputs.inputs_embeds == null) {
      this.#warn_once(padding_warning(this.config, batch));
    }
    const calls = texts.map((text, row) => ({
      ...text,
      ...types_of(batch.sequences[row]),
      ...(this.#task === "causal-lm" && { all_logits: !last_only }),
      ...more,
    }));
    const outputs = await this.#run_each(calls, signal);
    const output = with_loss(model_output(this.#task, batch, outputs, last_only), loss);
    return keeps ? with_past(output, texts) : output;
  }

  /** The engine's output of each, one after the other and with nothing of another call's between them. */
  #run_each(calls: readonly EngineCall[], signal: AbortSignal | undefined): Promise<EngineOutput[]> {
    return this.#in_turn(signal, async () => {
      const done: EngineOutput[] = [];
      for (const { ids, ...options } of calls) done.push(await this.#backend.forward(ids, options, signal));
      return done;
    });
  }

  /**
   * Continues prompts, one after the other; an encoder-decoder writes a text of each. With `num_beams` by beam search.
   *
   * @returns the prompts and the new ids, of an encoder-decoder the decoder's, `[batch, n]`; after a shorter text there is
   *   `pad_token_id`; of prompts that are `inputs_embeds`, the new ids alone; with `return_dict_in_generate` as `sequences`, beside
   *   `past_key_values`
   * @throws {LayerlineError} ABORTED when `signal` fires; to keep what is there, stop by `stopping_criteria` instead
   */
  async generate(inputs: GenerateInputs): Promise<Tensor<"int64">>;
  async generate(inputs: DictGenerateInputs): Promise<GenerateOutput>;
  async generate(inputs: GenerateInputs | DictGenerateInputs): Promise<Tensor<"int64"> | GenerateOutput> {
    if (!["causal-lm", "seq2seq-lm", "speech-seq2seq"].includes(this.#task)) {
      const { class_name } = this.#backend.facts;
      const classes = "AutoModelForCausalLM, AutoModelForSeq2SeqLM or AutoModelForSpeechSeq2Seq";
      throw new LayerlineError("NO_HEAD", `${class_name} writes no text; load a model with ${classes}.`);
    }
    const kind = this.#reads_sound ? "speech" : this.#has_encoder ? "seq2seq" : "text";
    const options = check_generation_options(inputs, kind);
    const how = search_of(inputs, options, this);
    const signal = inputs.signal ?? undefined;
    const call = { backend: this.#backend, inputs, options, configs: this, how, signal };
    const { runs, warning } = kind === "text" ? continuing_runs(call) : writing_runs(call, kind);
    this.#warn_once(warning);
    if (inputs.streamer != null && runs.length > 1) {
      refuse_option("streamer", inputs.streamer, `A streamer takes one text, not ${runs.length}.`);
    }
    const texts = await this.#in_turn(signal, async () => {
      const done: number[][] = [];
      for (const run of runs)
        done.push(...(how.beams !== 1 ? await searched_texts(run) : [await text_of(run, inputs)]));
      return done;
    });
    inputs.streamer?.end();
    const sequences = ids_tensor(texts, filler(options, this));
    if (inputs.return_dict_in_generate !== true) return sequences;
    const past = how.beams !== 1 ? undefined : past_of_runs(runs, texts);
    return { sequences, ...(past && { past_key_values: past }) };
  }

  /** Resolves when every weight is on its device, those of experts included, which come by themselves only when they are needed. */
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

  #warn_once(warning: string | undefined): void {
    if (warning === undefined || this.#warned.has(warning)) return;
    this.#warned.add(warning);
    console.warn(warning);
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

/** An output with what was read for it, where ids tell that. */
function with_past(output: Outputs, texts: readonly EngineText[]): AnyOutput {
  if (texts.some(({ inputs_embeds, position_ids }) => inputs_embeds || position_ids)) return output;
  return { ...output, past_key_values: new DynamicCache(texts.map(({ ids }) => ids.slice())) };
}

function types_of(sequence: Sequence | undefined): Pick<Sequence, "token_type_ids"> {
  return sequence?.token_type_ids ? { token_type_ids: sequence.token_type_ids } : {};
}

function with_loss(output: Outputs, loss: ((output: Outputs) => number) | undefined): Outputs {
  return loss === undefined ? output : { ...output, loss: new Tensor("float32", [loss(output)], []) };
}
