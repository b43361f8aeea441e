import { LayerlineError } from "./errors.js";
import { ids_tensor } from "./inputs.js";
import { refuse_option } from "./refuse.js";
import type { Tensor } from "./tensor.js";

export interface TokenizeOptions {
  text_pair?: string | string[] | null;
  /** Default true. */
  add_special_tokens?: boolean | null;
  /** Pad to the longest of the texts (true, "longest") or to `max_length`. Default false. */
  padding?: boolean | "longest" | "max_length" | "do_not_pad" | null;
  /**
   * Cut texts that are longer than `max_length`, or than the model's own; of a pair the longer one first. Special tokens
   * stay. Default: whether there is a `max_length` that isn't for padding.
   */
  truncation?: boolean | "longest_first" | "do_not_truncate" | null;
  max_length?: number | null;
  /** Tensors (the default) or plain arrays. */
  return_tensor?: boolean | null;
  /** Default: whether the model's inputs have them. */
  return_token_type_ids?: boolean | null;
}

export const TOKENIZE_KEYS = [
  "text_pair",
  "add_special_tokens",
  "padding",
  "truncation",
  "max_length",
  "return_tensor",
  "return_token_type_ids",
] as const satisfies readonly (keyof TokenizeOptions)[];

/** What a tokenizer gives a model. */
export interface BatchEncoding<T> {
  input_ids: T;
  attention_mask: T;
  /** 0 for a first text and 1 for a second, where the model has such types. */
  token_type_ids?: T;
}

/** A text, or a pair of texts, as ids. */
export interface Row {
  ids: number[];
  mask: number[];
  type_ids: number[];
}

/** How rows become one length. */
export interface Padding {
  side: "left" | "right";
  id: number | undefined;
  type_id: number;
}

/** Longer than any text: transformers writes 1e30 where it knows no limit. */
const NO_LIMIT = 2 ** 32;

/** How a call pads and cuts. */
export interface Lengths {
  /** Cut to so many; undefined: not at all. */
  truncate: number | undefined;
  /** Pad to so many, or to the longest text. */
  pad: number | "longest" | undefined;
  /** Nobody asked for truncation, but for a length. */
  guessed: boolean;
}

/** What `padding`, `truncation` and `max_length` come to. */
export function lengths_of(options: TokenizeOptions, model_max_length: number): Lengths {
  const { padding, truncation, max_length } = options;
  if (max_length != null && !(Number.isSafeInteger(max_length) && max_length >= 0)) {
    refuse_option("max_length", max_length, "It must be a number of tokens.");
  }
  if (padding != null && ![true, false, "longest", "max_length", "do_not_pad"].includes(padding)) {
    refuse_option("padding", padding, 'Give true, false, "longest" or "max_length".');
  }
  if (truncation != null && ![true, false, "longest_first", "do_not_truncate"].includes(truncation)) {
    refuse_option("truncation", truncation, "Give true or false; of a pair the longer text is cut first.");
  }
  const limit = max_length ?? (model_max_length < NO_LIMIT ? model_max_length : undefined);
  if (padding === "max_length" && limit === undefined) {
    refuse_option("padding", padding, "Give max_length with it: the tokenizer doesn't say what its model takes.");
  }
  const pads = padding === true || padding === "longest";
  const guessed = truncation == null && max_length != null && !pads && padding !== "max_length";
  const truncates = truncation === true || truncation === "longest_first" || guessed;
  return {
    truncate: truncates ? limit : undefined,
    pad: pads ? "longest" : padding === "max_length" ? limit : undefined,
    guessed,
  };
}

/** Pads rows in place. */
export function pad(rows: readonly Row[], to: number | "longest", { side, id, type_id }: Padding): void {
  const length = to === "longest" ? Math.max(...rows.map((row) => row.ids.length)) : to;
  for (const row of rows) {
    const missing = Math.max(0, length - row.ids.length);
    if (missing === 0) continue;
    if (id === undefined) refuse_option("padding", true, "This tokenizer has no padding token.");
    const at = side === "left" ? 0 : row.ids.length;
    row.ids.splice(at, 0, ...Array<number>(missing).fill(id));
    row.mask.splice(at, 0, ...Array<number>(missing).fill(0));
    row.type_ids.splice(at, 0, ...Array<number>(missing).fill(type_id));
  }
}

/** Rows of one length as a tensor. */
export function rows_tensor(rows: readonly number[][]): Tensor<"int64"> {
  const length = rows[0]?.length ?? 0;
  if (rows.some((row) => row.length !== length)) {
    throw new LayerlineError(
      "TOKENIZER",
      "The texts have different lengths: give padding: true, or return_tensor: false.",
    );
  }
  return ids_tensor(rows);
}
