import { LayerlineError } from "../errors.js";
import { merge_sequences } from "./common_sequence.js";
import { LANGUAGES } from "./languages.js";

/** What Whisper said of one part of the audio. */
export interface AsrOutput {
  tokens: readonly number[];
  /** Seconds: of the part, and those that it has in common with the parts before and after. Without: the only part. */
  stride?: readonly [length: number, left: number, right: number] | null;
}

export interface AsrOptions {
  /** Seconds of a timestamp: the feature extractor's `chunk_length` over the config's `max_source_positions`. */
  time_precision: number;
  return_timestamps?: boolean;
  return_language?: boolean;
  /** Timestamps of the most that Whisper hears at once. Default 1500. */
  segment_size?: number;
}

/** A piece of what was said. */
export interface AsrChunk {
  text: string;
  /** Seconds from the beginning of the audio; null where Whisper didn't say. With `return_timestamps`. */
  timestamp?: [start: number | null, end: number | null];
  /** The language's name in English, lower case; null where Whisper didn't say. With `return_language`. */
  language?: string | null;
}

export interface AsrText {
  text: string;
  /** With `return_timestamps` or `return_language`. */
  chunks?: AsrChunk[];
}

/** What is needed of Whisper's tokenizer. */
export interface AsrTokenizer {
  readonly all_special_ids: readonly number[];
  token_to_id(token: string): number | undefined;
  decode(ids: number[]): string;
}

interface Piece {
  text: string;
  timestamp: [number | null, number | null];
  language: string | null;
}

/**
 * Whisper's tokens as text: transformers' `_decode_asr`. Timestamps become pieces with a start and an end; what two parts
 * of the audio have in common is said once.
 *
 * @throws {LayerlineError} TOKENIZER where the tokenizer isn't Whisper's
 */
export function decode_asr(tokenizer: AsrTokenizer, outputs: readonly AsrOutput[], options: AsrOptions): AsrText {
  const reader = new Reader(tokenizer, options);
  for (const output of outputs) reader.read(output);
  const pieces = reader.end();
  const text = pieces.map((piece) => piece.text).join("");
  const { return_timestamps = false, return_language = false } = options;
  if (!return_timestamps && !return_language) return { text };
  const chunks = pieces.map((piece) => ({
    ...(return_language && { language: piece.language }),
    ...(return_timestamps && { timestamp: piece.timestamp }),
    text: piece.text,
  }));
  return { text, chunks };
}

/** Reads token after token. */
class Reader {
  readonly #tokenizer: AsrTokenizer;
  readonly #special: ReadonlySet<number>;
  readonly #first_time: number;
  readonly #precision: number;
  readonly #segment: number;
  readonly #timed: boolean;
  readonly #pieces: Piece[] = [];
  #language: string | null = null;
  #piece: Piece;
  /** The words of the piece, those of each part of the audio apart. */
  #before: number[][] = [];
  #words: number[] = [];
  /** Where the part begins, in seconds. */
  #offset = 0;
  /** Whether the next timestamp is the second one of a pair that is not to be read. */
  #skip = false;

  constructor(tokenizer: AsrTokenizer, { time_precision, return_timestamps = false, segment_size = 1500 }: AsrOptions) {
    this.#tokenizer = tokenizer;
    this.#special = new Set(tokenizer.all_special_ids);
    this.#first_time = token_id(tokenizer, "<|notimestamps|>") + 1;
    this.#precision = time_precision;
    this.#segment = time_precision * segment_size;
    this.#timed = return_timestamps;
    this.#piece = this.#new_piece();
  }

  read({ tokens, stride }: AsrOutput): void {
    const ids = this.#without_prompt(tokens);
    const [length, left, right] = stride ?? [0, 0, 0];
    this.#offset -= left;
    // Times within the overlaps are left to the part that hears what is around them.
    const from = left > 0 ? left / this.#precision + this.#first_time : this.#first_time;
    const until = right > 0 ? this.#last_time(ids, length - right) : undefined;
    // Audio that was heard in several goes has times that begin anew.
    const heard = { segments: 0, latest: 0, before: 0 };
    this.#words = [];
    for (const [i, id] of ids.entries()) {
      if (this.#special.has(id)) this.#special_token(id);
      else if (id < this.#first_time) this.#words.push(id);
      else {
        const time = (id - this.#first_time) * this.#precision;
        if (time < heard.latest) {
          const single_end = i >= 2 && !(this.#is_time(ids[i - 1]) && this.#is_time(ids[i - 2]));
          if (single_end) heard.segments += this.#segment;
          else {
            heard.latest = heard.before;
            heard.segments += heard.before;
          }
        }
        heard.before = heard.latest;
        heard.latest = time;
        if (until !== undefined && id >= until) this.#skip = true;
        else if (this.#skip || (this.#before.length > 0 && id < from)) this.#skip = false;
        else this.#time(to_hundredths(time + this.#offset + heard.segments));
      }
    }
    if (stride) this.#offset += length - right;
    if (this.#words.length > 0) this.#before.push(this.#words);
    else if (this.#before.every((words) => words.length === 0)) this.#begin();
  }

  /** All pieces. What has no end is the last one. */
  end(): Piece[] {
    if (this.#before.length > 0) this.#finish();
    return this.#pieces;
  }

  #is_time(id: number | undefined): boolean {
    return id !== undefined && id >= this.#first_time;
  }

  /** The first timestamp that is not to be read, of those in the overlap with the next part: at least the last one. */
  #last_time(ids: readonly number[], overlap_start: number): number | undefined {
    let last: number | undefined;
    for (const id of ids.filter((id) => this.#is_time(id)).reverse()) {
      if (last !== undefined && (id - this.#first_time) * this.#precision < overlap_start) break;
      last = id;
    }
    return last;
  }

  #special_token(id: number): void {
    const language = LANGUAGES[this.#tokenizer.decode([id]).slice(2, -2)];
    if (language === undefined) return;
    if (this.#language !== null && language !== this.#language && !this.#timed) {
      this.#before.push(this.#words);
      this.#finish();
    }
    this.#piece.language = language;
    this.#language = language;
  }

  #time(time: number): void {
    const { timestamp } = this.#piece;
    if (timestamp[0] === null) timestamp[0] = time;
    // The same time twice: it is a beginning, not an end.
    else if (time !== timestamp[0]) {
      timestamp[1] = time;
      this.#before.push(this.#words);
      this.#finish();
    }
  }

  #finish(): void {
    this.#piece.text = this.#tokenizer.decode(merge_sequences(this.#before));
    this.#pieces.push(this.#piece);
    this.#begin();
  }

  #begin(): void {
    this.#piece = this.#new_piece();
    this.#before = [];
    this.#words = [];
  }

  #new_piece(): Piece {
    return { text: "", timestamp: [null, null], language: this.#language };
  }

  /** What follows `<|startofprev|>` was given, not heard. */
  #without_prompt(tokens: readonly number[]): readonly number[] {
    if (tokens.length === 0 || tokens[0] !== this.#tokenizer.token_to_id("<|startofprev|>")) return tokens;
    const start = tokens.indexOf(token_id(this.#tokenizer, "<|startoftranscript|>"));
    return start === -1 ? [] : tokens.slice(start);
  }
}

function token_id(tokenizer: AsrTokenizer, token: string): number {
  const id = tokenizer.token_to_id(token);
  if (id === undefined) throw new LayerlineError("TOKENIZER", `The tokenizer has no ${token}: it isn't Whisper's.`);
  return id;
}

function to_hundredths(seconds: number): number {
  return Number(seconds.toFixed(2));
}
