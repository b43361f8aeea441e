import { Callable } from "./callable.js";
import { parse_config } from "./config.js";
import type { TextTokenizer } from "./engine.js";
import { aborted, as_layerline_error, LayerlineError } from "./errors.js";
import { decode_ids, type IdsLike } from "./inputs.js";
import { check_keys, check_pretrained_options, type PretrainedOptions } from "./options.js";
import { refuse_option } from "./refuse.js";
import { check_source, type ModelSource } from "./source.js";
import { special_tokens_of } from "./special_tokens.js";
import type { Tensor } from "./tensor.js";
import {
  type BatchEncoding,
  lengths_of,
  pad,
  type Row,
  rows_tensor,
  TOKENIZE_KEYS,
  type TokenizeOptions,
} from "./tokenize.js";
import { text } from "./wasm.js";

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

/** transformers' tokenizers whose models have token types, where the files don't say what a model takes. */
const TYPED =
  /^(Albert|Bert|BigBird|ConvBert|Deberta|DebertaV2|Electra|Funnel|Herbert|MobileBert|RoFormer|SqueezeBert|XLM)Tokenizer/;

/** A repo's tokenizer. Everything after loading is synchronous. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class PreTrainedTokenizer extends Callable {
  /** tokenizer_config.json. */
  readonly config: Record<string, unknown>;
  readonly bos_token: string | undefined;
  readonly bos_token_id: number | undefined;
  readonly eos_token: string | undefined;
  readonly eos_token_id: number | undefined;
  readonly unk_token: string | undefined;
  readonly unk_token_id: number | undefined;
  readonly sep_token: string | undefined;
  readonly sep_token_id: number | undefined;
  readonly pad_token: string | undefined;
  readonly pad_token_id: number | undefined;
  readonly cls_token: string | undefined;
  readonly cls_token_id: number | undefined;
  readonly mask_token: string | undefined;
  readonly mask_token_id: number | undefined;
  /** What `skip_special_tokens` leaves out. */
  readonly all_special_ids: readonly number[];
  /** The longest input that the model was made for, in tokens. */
  readonly model_max_length: number;
  padding_side: "left" | "right";
  readonly #text: TextTokenizer;
  #warned = false;

  /** @internal */
  constructor(tokenizer: TextTokenizer) {
    super();
    this.#text = tokenizer;
    this.config = parse_config(tokenizer.config() || "{}", "tokenizer_config.json");
    const special = special_tokens_of(tokenizer);
    this.bos_token = special.bos_token;
    this.bos_token_id = special.bos_token_id;
    this.eos_token = special.eos_token;
    this.eos_token_id = special.eos_token_id;
    this.unk_token = special.unk_token;
    this.unk_token_id = special.unk_token_id;
    this.sep_token = special.sep_token;
    this.sep_token_id = special.sep_token_id;
    this.pad_token = special.pad_token;
    this.pad_token_id = special.pad_token_id;
    this.cls_token = special.cls_token;
    this.cls_token_id = special.cls_token_id;
    this.mask_token = special.mask_token;
    this.mask_token_id = special.mask_token_id;
    this.all_special_ids = [...tokenizer.all_special_ids()];
    const { model_max_length } = this.config;
    this.model_max_length = typeof model_max_length === "number" ? model_max_length : Number.POSITIVE_INFINITY;
    this.padding_side = this.config.padding_side === "left" ? "left" : "right";
  }

  /** The language that texts are in, where the tokenizer says it in a token (NLLB's, mBART's). */
  get src_lang(): string | undefined {
    return this.#text.src_lang();
  }

  /** @throws {LayerlineError} TOKENIZER where there is no such */
  set src_lang(language: string) {
    lift(() => this.#text.set_src_lang(language));
  }

  /** How many ids there are. */
  get vocab_size(): number {
    return this.#text.vocab_size();
  }

  /** The inputs of the model, as transformers' tokenizers list them. */
  get model_input_names(): string[] {
    const { model_input_names, tokenizer_class } = this.config;
    if (Array.isArray(model_input_names)) return model_input_names.map(String);
    const plain = typeof tokenizer_class !== "string" || tokenizer_class.startsWith("PreTrainedTokenizer");
    const typed = plain ? this.#has_types() : TYPED.test(tokenizer_class);
    return typed ? ["input_ids", "token_type_ids", "attention_mask"] : ["input_ids", "attention_mask"];
  }

  /** Whether texts go into BERT's frame, which gives the second one a type of its own. */
  #has_types(): boolean {
    return this.cls_token !== undefined && this.#encode_row("a", "a", true, undefined).type_ids.includes(1);
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
    const lengths = lengths_of(options, this.model_max_length);
    if (lengths.guessed && !this.#warned) {
      this.#warned = true;
      console.warn("max_length was given without truncation: texts are cut there. Give truncation: true or false.");
    }
    const add_special_tokens = options.add_special_tokens ?? true;
    const rows = texts.map((t, i) => this.#encode_row(t, pairs?.[i], add_special_tokens, lengths.truncate));
    if (lengths.pad !== undefined) {
      const { pad_token_type_id } = this.config;
      const type_id = typeof pad_token_type_id === "number" ? pad_token_type_id : 0;
      pad(rows, lengths.pad, { side: this.padding_side, id: this.pad_token_id, type_id });
    }
    const make = (of: (row: Row) => number[]): unknown => {
      const lists = rows.map(of);
      if (options.return_tensor ?? true) return rows_tensor(lists);
      return typeof text === "string" ? lists[0] : lists;
    };
    const typed = options.return_token_type_ids ?? this.model_input_names.includes("token_type_ids");
    return {
      input_ids: make((row) => row.ids),
      attention_mask: make((row) => row.mask),
      ...(typed && { token_type_ids: make((row) => row.type_ids) }),
    };
  }

  /** The ids of a text. */
  encode(
    text: string,
    options: Pick<TokenizeOptions, "add_special_tokens"> & { text_pair?: string | null } = {},
  ): number[] {
    check_keys(options, ["text_pair", "add_special_tokens"], {}, {});
    return this.#encode_row(text, options.text_pair ?? undefined, options.add_special_tokens ?? true, undefined).ids;
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

  #encode_row(
    text: string,
    pair: string | undefined,
    add_special_tokens: boolean,
    max_length: number | undefined,
  ): Row {
    const encoded = lift(() => this.#text.encode(text, pair, add_special_tokens, max_length));
    return {
      ids: Array.from(encoded.ids),
      mask: Array.from(encoded.attention_mask),
      type_ids: Array.from(encoded.type_ids),
    };
  }
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
