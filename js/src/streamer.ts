import type { IdsLike } from "./inputs.js";

/** Receives ids as `generate` makes them: the prompt's first, then each new one, then {@link end}. */
export abstract class BaseStreamer {
  abstract put(value: bigint[][]): void;
  abstract end(): void;
}

/** What a {@link TextStreamer} needs of a tokenizer. */
export interface Decoder {
  decode(token_ids: IdsLike, options?: { skip_special_tokens?: boolean }): string;
}

export interface TextStreamerOptions {
  /** Leave the prompt out of the stream. Default false. */
  skip_prompt?: boolean;
  /** Leave special tokens out of the text. Default true. */
  skip_special_tokens?: boolean;
  /** Gets each piece of text. Default: standard output in Node, the console elsewhere. */
  callback_function?: ((text: string) => void) | null;
  /** Gets the ids of each `put`. */
  token_callback_function?: ((ids: bigint[]) => void) | null;
  decode_kwargs?: { skip_special_tokens?: boolean };
}

/** Scripts that are written without spaces, in which a character is finished as soon as it is there. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]$/u;

/** Hands on text as soon as entire words are formed. */
export class TextStreamer extends BaseStreamer {
  readonly tokenizer: Decoder;
  skip_prompt: boolean;
  callback_function: ((text: string) => void) | null;
  token_callback_function: ((ids: bigint[]) => void) | null;
  decode_kwargs: { skip_special_tokens?: boolean };

  // A token's text depends on its neighbours (spaces, characters split over tokens), so the ids since the last line
  // end are decoded together, and what was handed on of that text already is counted.
  #pending: bigint[] = [];
  #printed = 0;
  #prompt_is_next = true;

  constructor(tokenizer: Decoder, options: TextStreamerOptions = {}) {
    super();
    this.tokenizer = tokenizer;
    this.skip_prompt = options.skip_prompt ?? false;
    this.callback_function = options.callback_function ?? print;
    this.token_callback_function = options.token_callback_function ?? null;
    this.decode_kwargs = { skip_special_tokens: options.skip_special_tokens ?? true, ...options.decode_kwargs };
  }

  override put(value: bigint[][]): void {
    const [ids, ...others] = value;
    if (ids === undefined || others.length > 0) throw new Error("TextStreamer takes one sequence at a time.");
    const is_prompt = this.#prompt_is_next;
    this.#prompt_is_next = false;
    if (is_prompt && this.skip_prompt) return;
    this.token_callback_function?.(ids);

    this.#pending.push(...ids);
    const text = this.#decode();
    const whole = is_prompt || text.endsWith("\n");
    const end = whole || UNSPACED.test(text) ? text.length : text.lastIndexOf(" ") + 1;
    this.#hand_on(text, Math.max(end, this.#printed), false);
    if (whole) this.#forget();
  }

  override end(): void {
    const text = this.#pending.length > 0 ? this.#decode() : "";
    this.#prompt_is_next = true;
    this.#hand_on(text, text.length, true);
    this.#forget();
  }

  /** Gets each piece of finished text; override it to send the text elsewhere. */
  on_finalized_text(text: string, stream_end: boolean): void {
    if (text.length > 0) this.callback_function?.(text);
    if (stream_end && this.callback_function === print && globalThis.process?.stdout !== undefined) print("\n");
  }

  #decode(): string {
    return this.tokenizer.decode(this.#pending, this.decode_kwargs);
  }

  #hand_on(text: string, end: number, stream_end: boolean): void {
    const piece = text.slice(this.#printed, end);
    this.#printed = end;
    this.on_finalized_text(piece, stream_end);
  }

  #forget(): void {
    this.#pending = [];
    this.#printed = 0;
  }
}

function print(text: string): void {
  const out = globalThis.process?.stdout;
  if (out !== undefined) out.write(text);
  else console.log(text);
}
