import type { GenerateOptions } from "./backend.js";
import type { GenerationConfig, PretrainedConfig } from "./config.js";
import { LayerlineError } from "./errors.js";
import type { GenerateInputs } from "./generation_options.js";
import type { Batch, Sequence } from "./inputs.js";
import { without_types } from "./model_inputs.js";
import { pad_token_id, padding_warning, without_padding } from "./padding.js";
import { refuse_option } from "./refuse.js";
import { text_batch } from "./text_inputs.js";

export interface Configs {
  config: PretrainedConfig;
  generation_config: GenerationConfig;
}

const RIGHT_PADDING =
  "A decoder-only architecture is being used, but right-padding was detected! For correct generation results, set the " +
  'tokenizer\'s padding_side to "left".';

/**
 * The prompts of a call, and what there is to warn of.
 *
 * @param read an encoder reads them, and does not care where their padding is
 */
export function prompts_of(
  inputs: Omit<GenerateInputs, "return_dict_in_generate">,
  options: GenerateOptions,
  configs: Configs,
  read = false,
): { batch: Batch; warning: string | undefined } {
  const input_ids = inputs.input_ids ?? inputs.inputs ?? null;
  if (input_ids === null && inputs.inputs_embeds == null) {
    throw new LayerlineError("INPUT_IDS", "generate needs input_ids.");
  }
  const given = without_types(text_batch({ ...inputs, input_ids }));
  const right_padding = (batch: Batch) => (read ? undefined : right_padding_warning(batch));
  if (inputs.attention_mask != null || inputs.inputs_embeds != null)
    return { batch: given, warning: right_padding(given) };
  const pad = padding_id(options, configs);
  if (pad === undefined) return { batch: given, warning: undefined };
  // Where the id that ends a text is that of padding, nobody can tell them apart.
  if (eos_ids(options, configs).includes(pad)) return { batch: given, warning: padding_warning(configs.config, given) };
  const batch = without_padding(given, pad);
  return { batch, warning: right_padding(batch) };
}

function right_padding_warning({ sequences, length }: Batch): string | undefined {
  return sequences.some(({ end }) => end < length) ? RIGHT_PADDING : undefined;
}

/** The options for one text of a call: a seed of its own. */
export function seeded(options: GenerateOptions, nth: number): GenerateOptions {
  return { ...options, ...(options.seed !== undefined && { seed: options.seed + nth }) };
}

/** The options for one text of a batch: lengths without its padding. */
export function row_options(
  options: GenerateOptions,
  config: GenerationConfig,
  { given, ids }: Pick<Sequence, "given" | "ids">,
): GenerateOptions {
  const own = { ...options };
  const padding = given.length - ids.length;
  if (padding === 0) return own;
  for (const [length, new_tokens] of [
    ["max_length", "max_new_tokens"],
    ["min_length", "min_new_tokens"],
  ] as const) {
    if (own[new_tokens] !== undefined) continue;
    const asked = own[length] ?? (config[new_tokens] == null ? config[length] : undefined);
    if (typeof asked === "number") own[length] = Math.max(0, asked - padding);
  }
  return own;
}

/** The repo's own options: its config.json's where it has no generation_config.json, as transformers has it. */
export function own_options({ config, generation_config }: Configs): GenerationConfig {
  return Object.keys(generation_config).length > 0 ? generation_config : config;
}

/** How the texts of each prompt are found. */
export interface Search {
  /** How many grow side by side. */
  beams: number;
  /** How many are drawn, one after the other. */
  draws: number;
}

/** How the texts of each prompt are found, by the call or the repo; several beams leave no room for some options. */
export function search_of(
  { streamer, stopping_criteria }: Pick<GenerateInputs, "streamer" | "stopping_criteria">,
  options: GenerateOptions,
  configs: Configs,
): Search {
  const own = own_options(configs);
  const beams = options.num_beams ?? (typeof own.num_beams === "number" ? own.num_beams : 1);
  if (beams === 1) {
    const { num_return_sequences, do_sample } = options;
    const draws = num_return_sequences ?? 1;
    if (draws === 1 || (do_sample ?? own.do_sample) === true) return { beams, draws };
    const same = "Without do_sample or num_beams all of them would be the same.";
    refuse_option("num_return_sequences", num_return_sequences, same);
  }
  for (const [name, value] of Object.entries({ streamer, stopping_criteria })) {
    if (value == null) continue;
    const who = options.num_beams === undefined ? "the repo's generation_config.json" : "this call";
    const why = `It follows one text that grows, and ${who} asks for ${beams} beams; give num_beams: 1.`;
    refuse_option(name, value, why);
  }
  return { beams, draws: 1 };
}

/** The id that fills up the shorter texts of a batch. */
export function filler(options: GenerateOptions, configs: Configs): number {
  return padding_id(options, configs) ?? eos_ids(options, configs)[0] ?? 0;
}

function padding_id(options: GenerateOptions, { config, generation_config }: Configs): number | undefined {
  return options.pad_token_id ?? pad_token_id(generation_config) ?? pad_token_id(config);
}

function eos_ids(options: GenerateOptions, { config, generation_config }: Configs): readonly number[] {
  return [options.eos_token_id ?? generation_config.eos_token_id ?? config.eos_token_id ?? []].flat();
}
