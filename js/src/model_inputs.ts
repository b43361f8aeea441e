import type { Task } from "./engine.js";
import { LayerlineError } from "./errors.js";
import type { GridLike } from "./grid.js";
import type { Batch, IdsLike } from "./inputs.js";
import { check_keys } from "./options.js";
import type { DynamicCache } from "./past_key_values.js";
import { refuse_option } from "./refuse.js";
import type { Tensor } from "./tensor.js";
import { type EngineText, engine_texts, text_batch } from "./text_inputs.js";

/** What a class of models is called for in transformers.js' and transformers' words: the arguments of a forward pass. */
export type ModelInputs = ModelInputOptions & (ByIds | ByRows);

interface ByIds {
  /** Token ids of one text or of several, `[n]` or `[batch, n]`. */
  input_ids: IdsLike;
  inputs_embeds?: null;
}

interface ByRows {
  input_ids?: null;
  /** Rows that are read in the place of ids' embeddings: float32, `[batch, n, hidden]`. Not for encoder-decoders. */
  inputs_embeds: Tensor<"float32">;
}

interface ModelInputOptions {
  /**
   * Zeros where a row of `input_ids` has padding, at its start, its end or both; else ones. Before its columns may be others for
   * `past_key_values`, which count for nothing.
   */
  attention_mask?: IdsLike | null;
  /**
   * The tokens' positions, of the shape of `input_ids` or one row for all. Default: counted from a text's first token, without its
   * padding. Tokens attend by their order, whatever their positions. Not for encoder-decoders.
   */
  position_ids?: IdsLike | null;
  /** Of an earlier output of the same texts: `input_ids` are what comes behind them. For causal language models. */
  past_key_values?: DynamicCache | null;
  /** Whether a causal language model also gives `past_key_values`. Default true. */
  use_cache?: boolean | null;
  /** 0 for the first text of a pair, 1 for the second. */
  token_type_ids?: IdsLike | null;
  /** For encoder-decoders: ids of the text that is written. Default: `labels`, shifted by one. */
  decoder_input_ids?: IdsLike | null;
  /** Zeros where a row of `decoder_input_ids` has padding; else ones. */
  decoder_attention_mask?: IdsLike | null;
  /** Also give `hidden_states`. Default false. */
  output_hidden_states?: boolean | null;
  /** Also give `attentions`; of an encoder-decoder those of both stacks, and between them. Default false. */
  output_attentions?: boolean | null;
  /**
   * Also give `loss`. Ids of tokens or classes as `input_ids` has them, -100 where none counts; for sequence
   * classification a class a text, or numbers where the config's `problem_type` is another.
   */
  labels?: GridLike | null;
  /** For question answering, in place of `labels`: each answer's first token, and its last. */
  start_positions?: GridLike | null;
  end_positions?: GridLike | null;
  /** For causal language models. 1: logits of each text's last token only. 0, the default: of every token. */
  logits_to_keep?: 0 | 1;
  signal?: AbortSignal | null;
}

const KEYS = [
  "input_ids",
  "inputs_embeds",
  "attention_mask",
  "position_ids",
  "past_key_values",
  "use_cache",
  "token_type_ids",
  "output_hidden_states",
  "output_attentions",
  "labels",
  "start_positions",
  "end_positions",
  "logits_to_keep",
  "signal",
] as const satisfies readonly (keyof ModelInputs)[];

const NEUTRAL = { return_dict: [true] };

const NO_ENCODER = "It is for encoder-decoders; leave it out.";

const REFUSED = {
  decoder_input_ids: NO_ENCODER,
  decoder_attention_mask: NO_ENCODER,
  input_features: "This model reads texts; give input_ids.",
  pixel_values: "This model reads texts; give input_ids.",
  return_dict: "Outputs are objects; leave it out.",
  head_mask: "All heads take part; leave it out.",
};

/** The arguments of a forward pass, checked. */
export interface CheckedInputs {
  batch: Batch;
  /** The batch's texts, behind what was read before. */
  texts: EngineText[];
  /** Whether what has been read is to be gone on from. */
  keeps: boolean;
  last_only: boolean;
  more: MoreOutputs;
  signal: AbortSignal | undefined;
}

/** @param input_names what the model takes, as the engine says */
export function check_model_inputs(inputs: ModelInputs, task: Task, input_names: readonly string[]): CheckedInputs {
  check_keys(inputs, KEYS, NEUTRAL, REFUSED);
  const { past_key_values, use_cache, logits_to_keep = 0 } = inputs;
  if (logits_to_keep !== 0 && logits_to_keep !== 1) {
    refuse_option("logits_to_keep", logits_to_keep, "It must be 0 (every position) or 1 (the last one).");
  }
  if (logits_to_keep === 1 && task !== "causal-lm") {
    refuse_option("logits_to_keep", logits_to_keep, "It is for causal language models; leave it out.");
  }
  if (typeof (use_cache ?? true) !== "boolean") refuse_option("use_cache", use_cache, "It must be a boolean.");
  if (past_key_values != null && task !== "causal-lm") {
    refuse_option("past_key_values", past_key_values, "It is for causal language models; give the whole text.");
  }
  const batch = text_batch(inputs, past_key_values != null);
  return {
    batch: input_names.includes("token_type_ids") ? batch : without_types(batch),
    // Some encoders number tokens otherwise.
    texts: engine_texts(batch, task === "causal-lm", past_key_values),
    keeps: task === "causal-lm" && use_cache !== false,
    last_only: logits_to_keep === 1,
    more: more_outputs(inputs),
    signal: inputs.signal ?? undefined,
  };
}

/** Outputs that a forward pass gives only where they are asked for. */
export interface MoreOutputs {
  output_hidden_states?: true;
  output_attentions?: true;
}

/** Those that are asked for. */
export function more_outputs(inputs: object): MoreOutputs {
  const more: MoreOutputs = {};
  for (const name of ["output_hidden_states", "output_attentions"] as const) {
    const wanted: unknown = Reflect.get(inputs, name) ?? false;
    if (typeof wanted !== "boolean") refuse_option(name, wanted, "It must be a boolean.");
    if (wanted) more[name] = true;
  }
  return more;
}

/** A batch for a model that knows no token types: those of one text alone say nothing. */
export function without_types(batch: Batch): Batch {
  const sequences = batch.sequences.map(({ token_type_ids, ...sequence }) => {
    if (token_type_ids?.some((type) => type !== 0)) {
      throw new LayerlineError("INPUT_IDS", "This model has no token types; leave token_type_ids out.");
    }
    return sequence;
  });
  return { ...batch, sequences };
}
