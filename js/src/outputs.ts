import type { EngineArray, EngineOutput, Task } from "./engine.js";
import { LayerlineError } from "./errors.js";
import { type Batch, whole_batch } from "./inputs.js";
import type { DynamicCache } from "./past_key_values.js";
import { Tensor } from "./tensor.js";

type Floats = Tensor<"float32">;

/** What a model without a head gives. */
export interface BaseModelOutput {
  /** `[batch, n, hidden]`; the rows of padding are zeros. */
  last_hidden_state: Floats;
  /** `[batch, hidden]`, where the model has a pooler. */
  pooler_output?: Floats;
}

export interface CausalLMOutput {
  /** `[batch, n, vocab]`; the rows of padding are zeros. */
  logits: Floats;
  /** What was read, to be gone on from; not with `use_cache: false`, nor of texts that ids alone don't tell. */
  past_key_values?: DynamicCache;
}

export interface MaskedLMOutput {
  /** `[batch, n, vocab]`; the rows of padding are zeros. */
  logits: Floats;
}

export interface SequenceClassifierOutput {
  /** `[batch, labels]` */
  logits: Floats;
}

export interface TokenClassifierOutput {
  /** `[batch, n, labels]`; the rows of padding are zeros. */
  logits: Floats;
}

export interface QuestionAnsweringModelOutput {
  /** `[batch, n]`: where an answer starts. Padding has zeros. */
  start_logits: Floats;
  /** `[batch, n]`: where it ends, that token included. */
  end_logits: Floats;
}

export interface ImageClassifierOutput {
  /** `[batch, labels]` */
  logits: Floats;
}

export interface Seq2SeqLMOutput {
  /** `[batch, n, vocab]`, of the decoder's tokens; the rows of padding are zeros. */
  logits: Floats;
  /** `[batch, n, hidden]`: what the encoder has read; the rows of padding are zeros. */
  encoder_last_hidden_state: Floats;
}

export interface CLIPTextModelOutput {
  /** `[batch, projection]`: what images' embeddings can be compared with. */
  text_embeds: Floats;
  /** `[batch, n, hidden]`; the rows of padding are zeros. */
  last_hidden_state: Floats;
}

export interface CLIPVisionModelOutput {
  /** `[batch, projection]`: what texts' embeddings can be compared with. */
  image_embeds: Floats;
  /** `[batch, n, hidden]`: of the whole image, then of each patch. */
  last_hidden_state: Floats;
}

/** What `output_hidden_states: true` adds. */
export interface WithHiddenStates {
  /** The embeddings and what comes out of each layer, `[batch, n, hidden]` each; the rows of padding are zeros. */
  hidden_states: Floats[];
}

/** The same of an encoder-decoder. */
export interface WithSeq2SeqHiddenStates {
  /** Of the encoder, `[batch, n, hidden]` each; the rows of padding are zeros. */
  encoder_hidden_states: Floats[];
  /** Of the decoder, `[batch, n, hidden]` each. */
  decoder_hidden_states: Floats[];
}

/** What `output_attentions: true` adds. */
export interface WithAttentions {
  /**
   * Of each layer `[batch, heads, n, n]`: by which share each token (the third dimension) attends to each (the fourth, where
   * those of `past_key_values` come first); zeros for padding.
   */
  attentions: Floats[];
}

/** The same of an encoder-decoder. */
export interface WithSeq2SeqAttentions {
  /** Of each of the encoder's layers, `[batch, heads, n, n]` as {@link WithAttentions} has it. */
  encoder_attentions: Floats[];
  /** Of each of the decoder's. */
  decoder_attentions: Floats[];
  /** Of those too, `[batch, heads, decoder's n, encoder's n]`: by which share each token attends to what was read. */
  cross_attentions: Floats[];
}

/** What labels add. */
export interface WithLoss {
  /** A scalar: the mean over the labels. */
  loss: Floats;
}

/** The name of a layer's output: what it is, and the layer's number. */
const OF_LAYER = /^(\w+)\.\d+$/;

/**
 * A batch's output, as transformers has it, of what the engine gave for each of its texts.
 *
 * @param last_only `logits` are those of each text's last token
 * @param read what an encoder has read for each
 */
export function model_output(
  task: Task,
  batch: Batch,
  outputs: readonly EngineOutput[],
  last_only: boolean,
  read?: Batch,
): Record<string, Floats | Floats[]> {
  const [first] = outputs;
  if (first === undefined) throw unexpected("no output");
  const named: Record<string, Floats | Floats[]> = {};
  const layers: Record<string, Floats[]> = {};
  for (const name of Object.keys(first)) {
    const arrays = outputs.map((output) => array(output, name));
    const [, of_layers] = OF_LAYER.exec(name) ?? [];
    if (of_layers !== undefined) {
      // They come in the layers' order.
      const one = of_layers.endsWith("attentions")
        ? between_tokens(batch, arrays, of_layers.startsWith("cross_") ? read : undefined)
        : batched(batch, arrays, false);
      layers[of_layers] = [...(layers[of_layers] ?? []), one];
    } else if (task === "question-answering" && name === "logits") {
      named.start_logits = of_tokens(
        batch,
        arrays.map((pairs) => column(pairs, 0)),
        [],
      );
      named.end_logits = of_tokens(
        batch,
        arrays.map((pairs) => column(pairs, 1)),
        [],
      );
    } else if (last_only && name === "logits") named[name] = batched(batch, arrays.map(last_row), true);
    else named[name] = batched(batch, arrays, false);
  }
  return { ...named, ...layers };
}

/**
 * `[heads, tokens, past + tokens]` of each text as `[batch, heads, n, most past + n]`: what was read before lies right before the
 * batch's columns. With `read`, which is what an encoder has read, the columns are of that.
 */
function between_tokens(batch: Batch, arrays: readonly EngineArray[], read?: Batch): Floats {
  const heads = arrays[0]?.dims[0] ?? 0;
  const past = ({ dims: [, tokens = 0, keys = 0] }: EngineArray) => (read ? 0 : keys - tokens);
  const most = Math.max(0, ...arrays.map(past));
  const attended = read ?? batch;
  const [n, keys] = [batch.length, most + attended.length];
  const dims = [arrays.length, heads, n, keys];
  const [only] = arrays;
  if (arrays.length === 1 && only?.data.length === heads * n * keys) return new Tensor("float32", only.data, dims);
  const data = new Float32Array(arrays.length * heads * n * keys);
  for (const [i, array] of arrays.entries()) {
    const [, tokens = 0, width = 0] = array.dims;
    const [start, first] = [batch, attended].map(({ sequences }) => sequences[i]?.start ?? 0) as [number, number];
    const before = past(array);
    for (let row = 0; row < heads * tokens; row++) {
      const [head, token] = [Math.floor(row / tokens), row % tokens];
      const to = ((i * heads + head) * n + start + token) * keys + most;
      const shares = array.data.subarray(row * width, (row + 1) * width);
      data.set(shares.subarray(0, before), to - before);
      data.set(shares.subarray(before), to + first);
    }
  }
  return new Tensor("float32", data, dims);
}

/**
 * The same of an encoder-decoder, whose two halves have texts of their own.
 *
 * @param read undefined where the encoder reads sound
 */
export function seq2seq_output(
  task: Task,
  read: Batch | undefined,
  written: Batch,
  outputs: readonly EngineOutput[],
): Record<string, Floats | Floats[]> {
  const part = (is_encoders: boolean) =>
    outputs.map((output) => {
      const own = Object.entries(output).filter(([name]) => name.startsWith("encoder_") === is_encoders);
      return Object.fromEntries(own);
    });
  const states = part(true);
  const source = read ?? whole_batch(states.length, states[0]?.encoder_last_hidden_state?.dims[0] ?? 0);
  return {
    ...model_output(task, written, part(false), false, source),
    ...model_output(task, source, states, false),
  };
}

/** Arrays of one text each as one of all: rows of tokens where the padding leaves them, vectors one below the other. */
function batched(batch: Batch, arrays: readonly EngineArray[], one_row: boolean): Floats {
  const [tokens = 0, ...rest] = arrays[0]?.dims ?? [];
  if (!one_row && rest.length > 0) {
    return of_tokens(
      batch,
      arrays.map(({ data }) => data),
      rest,
    );
  }
  const size = arrays[0]?.data.length ?? 0;
  // The one text's own array: logits can be a hundred megabytes.
  const data = arrays.length === 1 && arrays[0] ? arrays[0].data : new Float32Array(arrays.length * size);
  if (arrays.length > 1) for (const [i, array] of arrays.entries()) data.set(array.data, i * size);
  return new Tensor("float32", data, [arrays.length, tokens, ...rest]);
}

/** One value or one row a token, `[batch, n, ...row]`. */
function of_tokens(batch: Batch, texts: readonly Float32Array[], row: readonly number[]): Floats {
  const width = row.reduce((a, b) => a * b, 1);
  const dims = [batch.sequences.length, batch.length, ...row];
  const [only] = texts;
  if (texts.length === 1 && only?.length === batch.length * width) return new Tensor("float32", only, dims);
  const data = new Float32Array(batch.sequences.length * batch.length * width);
  for (const [i, { start, ids }] of batch.sequences.entries()) {
    const text = texts[i];
    if (text?.length !== ids.length * width) throw unexpected(`${text?.length} values for ${ids.length} tokens`);
    data.set(text, (i * batch.length + start) * width);
  }
  return new Tensor("float32", data, dims);
}

/** With hidden states the engine gives every row. */
function last_row({ dims, data }: EngineArray): EngineArray {
  const [rows = 1, ...rest] = dims;
  return rows === 1 ? { dims, data } : { dims: [1, ...rest], data: data.slice(-data.length / rows) };
}

function column({ dims, data }: EngineArray, index: number): Float32Array {
  const [tokens = 0, width = 1] = dims;
  return Float32Array.from({ length: tokens }, (_, token) => data[token * width + index] ?? 0);
}

function array(output: EngineOutput, name: string): EngineArray {
  const found = output[name];
  if (found === undefined) throw unexpected(`no ${name}`);
  return found;
}

function unexpected(what: string): LayerlineError {
  return new LayerlineError("INTERNAL", `The engine gave ${what}.`);
}
