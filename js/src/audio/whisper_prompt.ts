import type { GenerationConfig } from "../config.js";
import { LayerlineError } from "../errors.js";
import { refuse_option } from "../refuse.js";
import { LANGUAGE_ALIASES, LANGUAGES } from "./languages.js";

export interface WhisperTask {
  /** What is spoken: "en", "english" or "<|en|>", in any case. Default: English, of models of many languages. */
  language?: string | null;
  /** To write it down, or to translate it to English. Default "transcribe". */
  task?: "transcribe" | "translate" | null;
  /** Whether times are to be said. Default false. */
  return_timestamps?: boolean;
}

/**
 * The ids with which the decoder begins: `<|startoftranscript|>`, of models of many languages the language and the task,
 * and `<|notimestamps|>` where no times are wanted.
 *
 * @throws {LayerlineError} UNSUPPORTED_OPTION for a language or a task that the model hasn't; CONFIG_INVALID where the
 *   generation config lacks what it takes
 */
export function whisper_prompt(config: GenerationConfig, options: WhisperTask = {}): number[] {
  const { language = null, task = null, return_timestamps = false } = options;
  const start = config.decoder_start_token_id;
  if (typeof start !== "number") throw lacks("decoder_start_token_id");
  const ids = [start];
  if (is_multilingual(config)) {
    const token = `<|${language_code(language ?? "en")}|>`;
    const known = ids_of(config, "lang_to_id");
    const id = known.get(token);
    if (id === undefined) refuse_option("language", language, `This model knows ${[...known.keys()].join(", ")}.`);
    ids.push(id, task_id(config, task ?? "transcribe"));
  } else if (language !== null || task !== null) {
    const name = language !== null ? "language" : "task";
    refuse_option(name, options[name], "This model writes down English and nothing else.");
  }
  const { no_timestamps_token_id } = config;
  if (!return_timestamps && typeof no_timestamps_token_id === "number") ids.push(no_timestamps_token_id);
  return ids;
}

/**
 * The code of the likeliest language, "en". `logits` are those that follow `decoder_start_token_id` alone.
 *
 * @throws {LayerlineError} CONFIG_INVALID where the generation config names no languages
 */
export function likeliest_language(config: GenerationConfig, logits: ArrayLike<number>): string {
  const known = [...ids_of(config, "lang_to_id")];
  const score = (id: number) => logits[id] ?? Number.NEGATIVE_INFINITY;
  const best = known.reduce((best, one) => (score(one[1]) > score(best[1]) ? one : best), known[0] ?? ["<|en|>", 0]);
  return best[0].slice(2, -2);
}

/** Whether there is a language to name. Older configs don't say, but have languages. */
export function is_multilingual(config: GenerationConfig): boolean {
  const { is_multilingual } = config;
  return typeof is_multilingual === "boolean" ? is_multilingual : config.lang_to_id !== undefined;
}

/**
 * A language's code, by its code or its name.
 *
 * @throws {LayerlineError} UNSUPPORTED_OPTION for one that Whisper doesn't know
 */
export function language_code(language: string): string {
  const name = language.toLowerCase().replace(/^<\|(.*)\|>$/, "$1");
  if (Object.hasOwn(LANGUAGES, name)) return name;
  if (Object.hasOwn(LANGUAGE_ALIASES, name)) return LANGUAGE_ALIASES[name] ?? name;
  const found = Object.entries(LANGUAGES).find(([, known]) => known === name);
  if (found) return found[0];
  return refuse_option("language", language, `Whisper knows ${Object.values(LANGUAGES).join(", ")}.`);
}

function task_id(config: GenerationConfig, task: string): number {
  const known = ids_of(config, "task_to_id");
  const id = known.get(task);
  return id ?? refuse_option("task", task, `This model's are ${[...known.keys()].join(", ")}.`);
}

/** Ids by name, as a generation config has them. */
function ids_of(config: GenerationConfig, key: string): Map<string, number> {
  const ids = config[key];
  if (typeof ids !== "object" || ids === null) throw lacks(key);
  return new Map(Object.entries(ids).filter((entry): entry is [string, number] => typeof entry[1] === "number"));
}

function lacks(key: string): LayerlineError {
  return new LayerlineError("CONFIG_INVALID", `generation_config.json has no ${key}, which Whisper needs.`);
}
