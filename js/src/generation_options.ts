import type { GenerateOptions } from "./backend.js";
import type { IdsLike } from "./inputs.js";
import { check_keys } from "./options.js";
import type { DynamicCache } from "./past_key_values.js";
import { refuse_option } from "./refuse.js";
import { StoppingCriteria, StoppingCriteriaList } from "./stopping.js";
import type { BaseStreamer } from "./streamer.js";
import type { Tensor } from "./tensor.js";

/** How to choose tokens; what isn't given comes from the repo's generation_config.json, then transformers' defaults. */
export interface GenerationOptions {
  max_new_tokens?: number | null;
  max_length?: number | null;
  min_new_tokens?: number | null;
  min_length?: number | null;
  eos_token_id?: number | number[] | null;
  pad_token_id?: number | null;
  bos_token_id?: number | null;
  do_sample?: boolean | null;
  temperature?: number | null;
  top_k?: number | null;
  top_p?: number | null;
  /** For sampling: leaves out tokens of less than this share of the likeliest one's probability. */
  min_p?: number | null;
  /** For sampling: the same seed gives the same tokens; each text of a batch has the next. Without it they always differ. */
  seed?: number | null;
  repetition_penalty?: number | null;
  /** So many ids in a row that the text already has don't come again. */
  no_repeat_ngram_size?: number | null;
  /** Words, as lists of ids, that the text doesn't say. */
  bad_words_ids?: number[][] | null;
  /** For beam search: whether the probabilities of what may be said add up to 1 again. */
  renormalize_logits?: boolean | null;
  /** Ids that are never chosen. */
  suppress_tokens?: number[] | null;
  /** Ids that are not chosen right after the prompt. */
  begin_suppress_tokens?: number[] | null;
  /** For Whisper: whether times are said; `decoder_input_ids` then doesn't end with `no_timestamps_token_id`. */
  return_timestamps?: boolean | null;
  /** For Whisper: timestamps are the ids above it. */
  no_timestamps_token_id?: number | null;
  /** For Whisper: the latest timestamp that a text may begin with. */
  max_initial_timestamp_index?: number | null;
  /** How many texts grow side by side, of which the likeliest are taken: beam search. Takes no streamer and no stopping criteria. */
  num_beams?: number | null;
  /** How many texts are given for each prompt: the best that beam search finds, best first, or so many that are drawn. */
  num_return_sequences?: number | null;
  /** For beam search: a text's score is divided by the number of its new tokens to this power. */
  length_penalty?: number | null;
  /** For beam search: to stop as soon as there are `num_beams` whole texts; `"never"`: only where no better one can come. */
  early_stopping?: boolean | "never" | null;
  /** For encoder-decoders: the id with which the text begins. Default: the repo's, else `bos_token_id`. */
  decoder_start_token_id?: number | null;
  /** For encoder-decoders: the first new id. */
  forced_bos_token_id?: number | null;
  /** For encoder-decoders: the last id of a text that `max_length` or `max_new_tokens` ends. */
  forced_eos_token_id?: number | number[] | null;
}

/** The argument of `model.generate`. */
export interface GenerateInputs extends GenerationOptions {
  /** Token ids of one prompt or of several, `[n]` or `[batch, n]`. */
  input_ids?: IdsLike | null;
  /** In place of `input_ids`: rows that are read as their embeddings, float32, `[batch, n, hidden]`. Not for encoder-decoders. */
  inputs_embeds?: Tensor<"float32"> | null;
  /** The prompt's positions, of its shape or one row for all; new tokens go on from the last. Default: counted. */
  position_ids?: IdsLike | null;
  /**
   * Of an earlier output: what was read, in the place of as many first ids of each text. `input_ids` are the whole texts, and
   * without it what was read before isn't read again either.
   */
  past_key_values?: DynamicCache | null;
  /** transformers.js' other name of `input_ids`, or of `input_features`. */
  inputs?: IdsLike | null;
  /** Zeros where a row of `input_ids` has padding; else ones. Without it, `pad_token_id` at either end is padding. */
  attention_mask?: IdsLike | null;
  /** What a tokenizer gives beside the ids; zeros, since decoders have no token types. */
  token_type_ids?: IdsLike | null;
  /** For encoder-decoders that read sound, in place of `input_ids`: float32, `[batch, mels, frames]`. */
  input_features?: Tensor<"float32"> | null;
  /** For encoder-decoders: how each text begins. Default: `decoder_start_token_id`, which is put before others. */
  decoder_input_ids?: IdsLike | null;
  /** Options in one object; those given directly go before them. */
  generation_config?: GenerationOptions | null;
  /** Gets the tokens as they come, of one text alone. */
  streamer?: Pick<BaseStreamer, "put" | "end"> | null;
  stopping_criteria?: StoppingCriteria | readonly StoppingCriteria[] | null;
  /** Whether ids come as `sequences`, with `past_key_values` beside them; see {@link DictGenerateInputs}. Default false. */
  return_dict_in_generate?: false | null;
  signal?: AbortSignal | null;
}

/** The argument of `model.generate` where an object is wanted. */
export interface DictGenerateInputs extends Omit<GenerateInputs, "return_dict_in_generate"> {
  return_dict_in_generate: true;
}

const CHOICE_KEYS = [
  "max_new_tokens",
  "max_length",
  "min_new_tokens",
  "min_length",
  "eos_token_id",
  "pad_token_id",
  "bos_token_id",
  "do_sample",
  "temperature",
  "top_k",
  "top_p",
  "min_p",
  "seed",
  "repetition_penalty",
  "no_repeat_ngram_size",
  "bad_words_ids",
  "renormalize_logits",
  "suppress_tokens",
  "begin_suppress_tokens",
  "num_beams",
  "num_return_sequences",
  "length_penalty",
  "early_stopping",
] as const satisfies readonly (keyof GenerationOptions)[];

const DECODER_CHOICES = [
  "decoder_start_token_id",
  "forced_bos_token_id",
  "forced_eos_token_id",
] as const satisfies readonly (keyof GenerationOptions)[];

const TIMESTAMP_CHOICES = [
  "return_timestamps",
  "no_timestamps_token_id",
  "max_initial_timestamp_index",
] as const satisfies readonly (keyof GenerationOptions)[];

const CALL_KEYS = ["generation_config", "streamer", "stopping_criteria", "return_dict_in_generate", "signal"];

/** What is continued, or read; what a model doesn't know is refused. */
const INPUT_KEYS = {
  text: ["input_ids", "inputs", "inputs_embeds", "attention_mask", "token_type_ids", "position_ids", "past_key_values"],
  seq2seq: ["input_ids", "inputs", "attention_mask", "token_type_ids", "decoder_input_ids"],
  speech: ["input_features", "inputs", "decoder_input_ids"],
};

const NEUTRAL: Record<string, readonly unknown[]> = {
  num_beam_groups: [1],
  use_cache: [true],
  output_scores: [false],
  output_logits: [false],
  output_attentions: [false],
  output_hidden_states: [false],
  typical_p: [1],
  diversity_penalty: [0],
  transformers_version: [],
};

const ENCODER_DECODERS = "It is for encoder-decoders; leave it out.";

const REFUSED: Record<string, string> = {
  decoder_input_ids: ENCODER_DECODERS,
  decoder_start_token_id: ENCODER_DECODERS,
  forced_bos_token_id: ENCODER_DECODERS,
  forced_eos_token_id: ENCODER_DECODERS,
  decoder_attention_mask: "What a text begins with has no padding; leave it out.",
  encoder_outputs: "The encoder reads anew in each call; give its inputs.",
  past_key_values: "An encoder-decoder reads anew in each call; leave it out.",
  output_scores: "generate returns ids alone; scores come from model.forward.",
  output_logits: "generate returns ids alone; logits come from model.forward.",
  use_cache: "Generation always uses the cache; leave it out.",
  logits_processor: "Tokens are chosen on the GPU, where no function of the page can look at the logits.",
  position_ids: "Positions of an encoder-decoder's tokens are counted; leave it out.",
  inputs_embeds: "An encoder-decoder reads token ids; give input_ids.",
};

/** What an option's value must be. */
type Check = readonly [fits: (value: unknown) => boolean, expected: string];

const is_number = (value: unknown) => typeof value === "number" && Number.isFinite(value);
const is_ids = (value: unknown) => Array.isArray(value) && value.every(Number.isInteger);

const A_NUMBER: Check = [is_number, "a number"];
const A_BOOLEAN: Check = [(value) => typeof value === "boolean", "a boolean"];
const IDS: Check = [is_ids, "a list of ids"];
const AN_ID_OR_IDS: Check = [(value) => is_number(value) || is_ids(value), "an id or a list of ids"];

/** Of the options that are no numbers. */
const CHECKS: { [key in keyof GenerationOptions]?: Check } = {
  do_sample: A_BOOLEAN,
  return_timestamps: A_BOOLEAN,
  renormalize_logits: A_BOOLEAN,
  eos_token_id: AN_ID_OR_IDS,
  forced_eos_token_id: AN_ID_OR_IDS,
  suppress_tokens: IDS,
  begin_suppress_tokens: IDS,
  bad_words_ids: [(value) => Array.isArray(value) && value.every(is_ids), "a list of lists of ids"],
  early_stopping: [(value) => typeof value === "boolean" || value === "never", 'a boolean or "never"'],
};

/** Options that were given. */
type Chosen<K extends keyof GenerationOptions> = { [key in K]?: NonNullable<GenerationOptions[key]> };

export type DecoderChoices = Chosen<(typeof DECODER_CHOICES)[number]>;

/** The engine's part of the options, checked. */
export function check_generation_options(
  inputs: GenerateInputs | DictGenerateInputs,
  kind: keyof typeof INPUT_KEYS = "text",
): GenerateOptions {
  const timestamps = kind === "speech" ? TIMESTAMP_CHOICES : [];
  const choices = kind === "text" ? CHOICE_KEYS : [...CHOICE_KEYS, ...DECODER_CHOICES, ...timestamps];
  check_keys(inputs, [...choices, ...INPUT_KEYS[kind], ...CALL_KEYS], NEUTRAL, REFUSED);
  check_keys(inputs.generation_config ?? {}, choices, NEUTRAL, REFUSED);
  const { return_dict_in_generate: dict } = inputs;
  if (typeof (dict ?? false) !== "boolean") refuse_option("return_dict_in_generate", dict, "It must be a boolean.");
  return chosen(inputs, [...CHOICE_KEYS, ...timestamps]);
}

/** What an encoder-decoder's options say on the first and the last of its ids. */
export function check_decoder_options(inputs: GenerateInputs | DictGenerateInputs): DecoderChoices {
  return chosen(inputs, DECODER_CHOICES);
}

function chosen<K extends keyof GenerationOptions>(
  inputs: GenerateInputs | DictGenerateInputs,
  keys: readonly K[],
): Chosen<K> {
  const out: Record<string, unknown> = {};
  for (const key of keys) {
    const value = inputs[key] ?? inputs.generation_config?.[key];
    if (value == null) continue;
    const [fits, expected] = CHECKS[key] ?? A_NUMBER;
    if (!fits(value)) refuse_option(key, value, `It must be ${expected}.`);
    out[key] = value;
  }
  return out as Chosen<K>;
}

/** Whether any criterion says that the sequence ends here. */
export function stopping(criteria: GenerateInputs["stopping_criteria"]): ((ids: number[]) => boolean) | undefined {
  if (criteria == null) return undefined;
  const list = new StoppingCriteriaList();
  list.extend(criteria instanceof StoppingCriteria ? [criteria] : criteria);
  return (ids) => list._call([ids])[0] === true;
}
