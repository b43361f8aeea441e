/** How an encoder-decoder's text begins and ends. */

import type { GenerateOptions } from "./backend.js";
import { LayerlineError } from "./errors.js";
import { type Configs, own_options } from "./generation.js";
import {
  check_decoder_options,
  type DecoderChoices,
  type DictGenerateInputs,
  type GenerateInputs,
} from "./generation_options.js";
import { batch_of } from "./inputs.js";
import { refuse_option } from "./refuse.js";

/** New tokens where nothing says how many. */
const NEW_TOKENS = 20;

/** A text that is to be written. */
export interface Writing {
  /** How it begins. */
  prompt: number[];
  /** The first new id, where it is forced. */
  first: number | undefined;
  /** The id that ends a text which has become too long. */
  last: number | undefined;
  /** How long it may become, the prompt included. */
  max_length: number;
  /** Ids that end it before. */
  eos: readonly number[];
  /** The engine's part. */
  options: GenerateOptions;
}

/** The id with which a decoder's text begins. */
export function decoder_start(
  { config, generation_config }: Configs,
  { decoder_start_token_id, bos_token_id }: DecoderChoices & Pick<GenerateOptions, "bos_token_id"> = {},
): number {
  const id =
    decoder_start_token_id ??
    generation_config.decoder_start_token_id ??
    config.decoder_start_token_id ??
    bos_token_id ??
    generation_config.bos_token_id ??
    config.bos_token_id;
  if (typeof id === "number") return id;
  throw new LayerlineError("INPUT_IDS", "No decoder_start_token_id is known: give it, or decoder_input_ids.");
}

/** The texts of a call, one for each of `count` that are read. */
export function writings_of(
  inputs: GenerateInputs | DictGenerateInputs,
  options: GenerateOptions,
  configs: Configs,
  count: number,
): Writing[] {
  const choices = check_decoder_options(inputs);
  const own = own_options(configs);
  const first = choices.forced_bos_token_id ?? own.forced_bos_token_id;
  const [last] = [choices.forced_eos_token_id ?? own.forced_eos_token_id ?? []].flat().sort((a, b) => a - b);
  const start = () => decoder_start(configs, { ...options, ...choices });
  return prompts_of(inputs, start, configs, count).map((prompt) => {
    const { max_new_tokens, min_new_tokens, max_length, min_length, ...engine } = options;
    const length = (total: unknown, more: unknown) =>
      typeof more === "number" ? prompt.length + more : typeof total === "number" ? total : undefined;
    const most =
      length(max_length, max_new_tokens) ?? length(own.max_length, own.max_new_tokens) ?? prompt.length + NEW_TOKENS;
    if (most <= prompt.length) {
      const name = max_new_tokens === undefined ? "max_length" : "max_new_tokens";
      refuse_option(name, options[name] ?? most, "There must be room for at least one token after the prompt.");
    }
    const least = length(min_length, min_new_tokens) ?? length(own.min_length, own.min_new_tokens);
    return {
      prompt,
      // It is forced right after the start alone, as in transformers.
      first: typeof first === "number" && prompt.length === 1 ? first : undefined,
      last,
      max_length: most,
      eos: [options.eos_token_id ?? own.eos_token_id ?? []].flat(),
      options: {
        ...engine,
        ...(least !== undefined && { min_length: least }),
      },
    };
  });
}

function prompts_of(
  { decoder_input_ids }: Pick<GenerateInputs, "decoder_input_ids">,
  start: () => number,
  { config }: Configs,
  count: number,
): number[][] {
  if (decoder_input_ids == null) return Array.from({ length: count }, () => [start()]);
  const given = batch_of(decoder_input_ids, undefined, undefined, { whose: "decoder_" }).sequences.map(({ ids }) => [
    ...ids,
  ]);
  if (given.length !== count) {
    throw new LayerlineError(
      "INPUT_IDS",
      `decoder_input_ids has ${given.length} rows, and what the encoder reads has ${count}.`,
    );
  }
  // Whisper's beginnings are whole ones.
  if (config.model_type === "whisper") return given;
  const first = start();
  return given.some(([id]) => id === first) ? given : given.map((ids) => [first, ...ids]);
}

/** What a beam search is given, which forces ids by itself. */
export function written_by_beams({ prompt, first, last, max_length, options }: Writing): GenerateOptions {
  return {
    ...options,
    max_length,
    decoder_input_ids: Uint32Array.from(prompt),
    ...(first !== undefined && { forced_bos_token_id: first }),
    ...(last !== undefined && { forced_eos_token_id: last }),
  };
}

/** Writes a text: the forced ids are told of as the engine's own. */
export async function write(
  { prompt, first, last, max_length, eos, options }: Writing,
  generate: (ids: Uint32Array, options: GenerateOptions, on_token: (id: number) => boolean) => Promise<unknown>,
  on_token: (id: number) => boolean,
): Promise<void> {
  const start = [...prompt];
  let length = prompt.length;
  let ended = false;
  const tell = (id: number): boolean => {
    length++;
    const goes_on = on_token(id);
    ended ||= !goes_on || eos.includes(id);
    return goes_on;
  };
  if (first !== undefined && (last === undefined || length + 1 < max_length)) {
    start.push(first);
    tell(first);
  }
  const most = last === undefined ? max_length : max_length - 1;
  if (!ended && start.length < most) {
    await generate(Uint32Array.from(start), { ...options, max_length: most }, tell);
  }
  if (!ended && last !== undefined && length === most) tell(last);
}
