import { Callable } from "./callable.js";
import { parse_config } from "./config.js";
import type { TextTokenizer } from "./engine.js";
import { aborted, as_layerline_error, LayerlineError } from "./errors.js";
import { decode_ids, type IdsLike } from "./inputs.js";
import { check_keys, check_pretrained_options, type PretrainedOptions } from "./options.js";
import { refuse_option } from "./refuse.js";
import { check_source, type ModelSource } from "./source.js";
import { Tensor } from "./tensor.js";
import { text } from "./wasm.js";

export interface TokenizeOptions {
  text_pair?: string | string[] | null;
  /** Default true. */
  add_special_tokens?: boolean;
  /** Pad to the longest of the texts (true) or to `max_length`. Default false. */
  padding?: boolean | "max_length";
  /** Cut at `max_length`, or at the model's own. Default false. */
  truncation?: boolean | null;
  max_length?: number | null;
  /** Tensors (the default) or plain arrays. */
  return_tensor?: boolean;
  return_token_type_ids?: boolean | null;
}

/** What a tokenizer gives a model. */
export interface BatchEncoding<T> {
  input_ids: T;
  attention_mask: T;
  token_type_ids?: T;
}

export interface DecodeOptions {
  skip_special_tokens?: boolean;
}

/** A message of a chat; templates may read more of it than these. */
export interface Message {
  role: string;
  content?: unknown;
  [key: string]: unknown;
}

export interface ChatTemplateOptions {
  tools?: object[] | null;
  documents?: object[] | null;
  /** A template to use instead of the repo's. */
  chat_template?: string | null;
  add_generation_prompt?: boolean;
  /** false: the text, not its ids. Default true. */
  tokenize?: boolean;
  return_tensor?: boolean;
  /** false: the ids alone. Default true. */
  return_dict?: boolean;
  padding?: boolean | "max_length";
  truncation?: boolean | null;
  max_length?: number | null;
  /** Anything else is a variable of the template. */
  [variable: string]: unknown;
}

// The call signatures of PreTrainedTokenizer; see Callable.
export interface PreTrainedTokenizer {
  (text: string, options: TokenizeOptions & { return_tensor: false }): BatchEncoding<number[]>;
  (text: string[], options: TokenizeOptions & { return_tensor: false }): BatchEncoding<number[][]>;
  (text: string | string[], options?: TokenizeOptions): BatchEncoding<Tensor<"int64">>;
}

const TOKENIZE_KEYS = [
  "text_pair",
  "add_special_tokens",
  "padding",
  "truncation",
  "max_length",
  "return_tensor",
  "return_token_type_ids",
];

interface Row {
  ids: number[];
  mask: number[];
  type_ids: number[];
}

/** A repo's tokenizer. Everything after loading is synchronous. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class PreTrainedTokenizer extends Callable {
  /** tokenizer_config.json. */
  readonly config: Record<string, unknown>;
  readonly bos_token: string | undefined;
  readonly bos_token_id: number | undefined;
  readonly eos_token: string | undefined;
  readonly eos_token_id: number | undefined;
  readonly pad_token: string | undefined;
  readonly pad_token_id: number | undefined;
  readonly unk_token: string | undefined;
  readonly unk_token_id: number | undefined;
  /** The longest input that the model was made for, in tokens. */
  readonly model_max_length: number;
  padding_side: "left" | "right";
  readonly #text: TextTokenizer;

  /** @internal */
  constructor(tokenizer: TextTokenizer) {
    super();
    this.#text = tokenizer;
    this.config = parse_config(tokenizer.config() || "{}", "tokenizer_config.json");
    const special = tokenizer.special_tokens();
    const token = (name: string) => optional(special[name], "string");
    const id = (name: string) => optional(special[`${name}_id`], "number");
    this.bos_token = token("bos_token");
    this.bos_token_id = id("bos_token");
    this.eos_token = token("eos_token");
    this.eos_token_id = id("eos_token");
    this.pad_token = token("pad_token");
    this.pad_token_id = id("pad_token");
    this.unk_token = token("unk_token");
    this.unk_token_id = id("unk_token");
    this.model_max_length = optional(this.config.model_max_length, "number") ?? Number.POSITIVE_INFINITY;
    this.padding_side = this.config.padding_side === "left" ? "left" : "right";
  }

  /** How many ids there are. */
  get vocab_size(): number {
    return this.#text.vocab_size();
  }

  /** @internal */
  override _call(text: string | string[], options: TokenizeOptions = {}): BatchEncoding<unknown> {
    check_keys(options, TOKENIZE_KEYS, {}, {});
    const texts = typeof text === "string" ? [text] : text;
    const pairs = typeof options.text_pair === "string" ? [options.text_pair] : (options.text_pair ?? undefined);
    if (!Array.isArray(texts) || !texts.every((t) => typeof t === "string") || texts.length === 0) {
      throw new LayerlineError("TOKENIZER", "A tokenizer takes a string or an array of strings.");
    }
    if (pairs !== undefined && pairs.length !== texts.length) {
      throw new LayerlineError("TOKENIZER", `${pairs.length} text_pair for ${texts.length} texts.`);
    }
    const rows = texts.map((t, i) => this.#encode_row(t, pairs?.[i], options.add_special_tokens ?? true));
    this.#truncate(rows, options);
    this.#pad(rows, options);
    const make = (of: (row: Row) => number[]): unknown => {
      const lists = rows.map(of);
      if (options.return_tensor ?? true) return rows_tensor(lists);
      return typeof text === "string" ? lists[0] : lists;
    };
    return {
      input_ids: make((row) => row.ids),
      attention_mask: make((row) => row.mask),
      ...(options.return_token_type_ids && { token_type_ids: make((row) => row.type_ids) }),
    };
  }

  /** The ids of a text. */
  encode(
    text: string,
    options: Pick<TokenizeOptions, "add_special_tokens"> & { text_pair?: string | null } = {},
  ): number[] {
    check_keys(options, ["text_pair", "add_special_tokens"], {}, {});
    return this.#encode_row(text, options.text_pair ?? undefined, options.add_special_tokens ?? true).ids;
  }

  /** The tokens of a text, as the vocabulary has them. */
  tokenize(text: string, options: Pick<TokenizeOptions, "add_special_tokens"> = {}): string[] {
    const ids = this.encode(text, { add_special_tokens: false, ...options });
    return ids.map((id) => this.#text.id_to_token(id) ?? "");
  }

  /** The text of one sequence of ids. */
  decode(token_ids: IdsLike, options: DecodeOptions = {}): string {
    check_keys(
      options,
      ["skip_special_tokens"],
      {},
      {
        clean_up_tokenization_spaces: "It is done as tokenizer_config.json says; leave it out.",
      },
    );
    const ids = decode_ids(token_ids);
    return lift(() => this.#text.decode(ids, options.skip_special_tokens ?? false));
  }

  /** The texts of several sequences: a tensor of shape [batch, n], or arrays of ids. */
  batch_decode(batch: Tensor | readonly IdsLike[], options: DecodeOptions = {}): string[] {
    return Array.from(batch as Iterable<IdsLike>, (ids) => this.decode(ids, options));
  }

  /** The id of a token of the vocabulary. */
  token_to_id(token: string): number | undefined {
    return this.#text.token_to_id(token);
  }

  /** The token of an id. */
  id_to_token(id: number): string | undefined {
    return this.#text.id_to_token(id);
  }

  /**
   * A chat, written out as the model was trained to read it.
   *
   * @throws {LayerlineError} CHAT_TEMPLATE when the repo has no template, or the template refuses the messages
   */
  apply_chat_template(messages: readonly Message[], options: ChatTemplateOptions & { tokenize: false }): string;
  apply_chat_template(
    messages: readonly Message[],
    options: ChatTemplateOptions & { return_dict: false; return_tensor: false },
  ): number[];
  apply_chat_template(
    messages: readonly Message[],
    options: ChatTemplateOptions & { return_dict: false },
  ): Tensor<"int64">;
  apply_chat_template(
    messages: readonly Message[],
    options: ChatTemplateOptions & { return_tensor: false },
  ): BatchEncoding<number[]>;
  apply_chat_template(messages: readonly Message[], options?: ChatTemplateOptions): BatchEncoding<Tensor<"int64">>;
  apply_chat_template(messages: readonly Message[], options: ChatTemplateOptions = {}): unknown {
    const { tokenize, return_tensor, return_dict, padding, truncation, max_length, tokenizer_kwargs, ...template } =
      options;
    if (tokenizer_kwargs != null && Object.keys(tokenizer_kwargs).length > 0) {
      refuse_option("tokenizer_kwargs", tokenizer_kwargs, "Take the text with tokenize: false and tokenize it apart.");
    }
    if (!Array.isArray(messages) || messages.some((m) => typeof m !== "object" || m === null || Array.isArray(m))) {
      throw new LayerlineError("CHAT_TEMPLATE", "One chat is needed: an array of objects with role and content.");
    }
    const given = Object.fromEntries(Object.entries(template).filter(([, value]) => value != null));
    const rendered = lift(() => this.#text.apply_chat_template(messages, given));
    if (tokenize === false) return rendered;
    const encoded = this._call(rendered, {
      // The template has written them.
      add_special_tokens: false,
      padding: padding ?? false,
      truncation: truncation ?? false,
      max_length: max_length ?? null,
      return_tensor: return_tensor ?? true,
    });
    return return_dict === false ? encoded.input_ids : encoded;
  }

  #encode_row(text: string, pair: string | undefined, add_special_tokens: boolean): Row {
    const encoded = lift(() => this.#text.encode(text, pair, add_special_tokens));
    return {
      ids: Array.from(encoded.ids),
      mask: Array.from(encoded.attention_mask),
      type_ids: Array.from(encoded.type_ids),
    };
  }

  #truncate(rows: Row[], { truncation, max_length }: TokenizeOptions): void {
    if (truncation !== true) return;
    const limit = max_length ?? this.model_max_length;
    for (const row of rows) for (const list of [row.ids, row.mask, row.type_ids]) list.splice(limit);
  }

  #pad(rows: Row[], { padding = false, max_length }: TokenizeOptions): void {
    if (padding === false) return;
    const longest = Math.max(...rows.map((row) => row.ids.length));
    const length = padding === "max_length" ? (max_length ?? this.model_max_length) : longest;
    if (!Number.isSafeInteger(length)) refuse_option("padding", padding, "Give max_length with it.");
    const pad_id = this.pad_token_id;
    for (const row of rows) {
      const missing = Math.max(0, length - row.ids.length);
      if (missing === 0) continue;
      if (pad_id === undefined) refuse_option("padding", padding, "This tokenizer has no padding token.");
      const at = this.padding_side === "left" ? 0 : row.ids.length;
      row.ids.splice(at, 0, ...Array<number>(missing).fill(pad_id));
      row.mask.splice(at, 0, ...Array<number>(missing).fill(0));
      row.type_ids.splice(at, 0, ...Array<number>(missing).fill(0));
    }
  }
}

function optional(value: unknown, type: "string"): string | undefined;
function optional(value: unknown, type: "number"): number | undefined;
function optional(value: unknown, type: "string" | "number"): unknown {
  return typeof value === type ? value : undefined;
}

function rows_tensor(rows: number[][]): Tensor<"int64"> {
  const length = rows[0]?.length ?? 0;
  if (rows.some((row) => row.length !== length)) {
    throw new LayerlineError(
      "TOKENIZER",
      "The texts have different lengths: give padding: true, or return_tensor: false.",
    );
  }
  return new Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), [rows.length, length]);
}

/** Runs a call of the text wasm, whose errors have a code but not this package's class. */
function lift<R>(call: () => R): R {
  try {
    return call();
  } catch (error) {
    throw as_layerline_error(error);
  }
}

export const AutoTokenizer = {
  /**
   * A repo's tokenizer, with its chat template if it has one.
   *
   * @throws {LayerlineError} when the repo or its tokenizer.json isn't there, or the file isn't a tokenizer
   */
  async from_pretrained(source: ModelSource, options: PretrainedOptions = {}): Promise<PreTrainedTokenizer> {
    const hub = check_pretrained_options(options);
    const { signal } = options;
    if (signal?.aborted) throw aborted(signal);
    try {
      const { Tokenizer } = await text();
      return new PreTrainedTokenizer(
        await Tokenizer.from_pretrained(check_source(source), { ...hub, ...(signal && { signal }) }),
      );
    } catch (error) {
      throw as_layerline_error(error);
    }
  },
};
