import type { GenerateOptions } from "./backend.js";
import type { GenerationConfig, PretrainedConfig } from "./config.js";
import { LayerlineError } from "./errors.js";
import type { GenerateInputs } from "./generation_options.js";
import type { Batch, Sequence } from "./inputs.js";
import { without_types } from "./model_inputs.js";
import { pad_token_id, padding_warning, without_padding } from "./padding.js";
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

/** The options for one text of a batch: lengths without its padding, and a seed of its own. */
export function row_options(
  options: GenerateOptions,
  config: GenerationConfig,
  { given, ids }: Pick<Sequence, "given" | "ids">,
  row: number,
): GenerateOptions {
  const own = { ...options };
  if (own.seed !== undefined) own.seed += row;
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

/** A warning where the repo asks for beams, and the call doesn't say that it wants none. */
export function beams_warning(
  inputs: Pick<GenerateInputs, "num_beams" | "generation_config">,
  configs: Configs,
): string | undefined {
  const { num_beams } = own_options(configs);
  if (typeof num_beams !== "number" || num_beams <= 1) return undefined;
  if ((inputs.num_beams ?? inputs.generation_config?.num_beams) === 1) return undefined;
  return (
    `The repo's options ask for beam search (num_beams: ${num_beams}), which is not supported: greedy search is used ` +
    "instead. Give num_beams: 1 if that is what you want."
  );
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
