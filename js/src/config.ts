import { aborted, as_layerline_error, LayerlineError } from "./errors.js";
import { check_pretrained_options, type PretrainedOptions } from "./options.js";
import { check_source, type ModelSource } from "./source.js";
import { engine } from "./wasm.js";

/** A repo's config.json. Fields that every architecture has are named; the others are there as they came. */
export interface PretrainedConfig {
  model_type?: string;
  architectures?: string[];
  vocab_size?: number;
  hidden_size?: number;
  num_hidden_layers?: number;
  max_position_embeddings?: number;
  eos_token_id?: number | number[] | null;
  bos_token_id?: number | null;
  pad_token_id?: number | null;
  decoder_start_token_id?: number | null;
  forced_bos_token_id?: number | null;
  forced_eos_token_id?: number | number[] | null;
  [key: string]: unknown;
}

/** A repo's generation_config.json. */
export interface GenerationConfig {
  max_new_tokens?: number;
  max_length?: number;
  do_sample?: boolean;
  temperature?: number;
  top_k?: number;
  top_p?: number;
  eos_token_id?: number | number[] | null;
  bos_token_id?: number | null;
  pad_token_id?: number | null;
  decoder_start_token_id?: number | null;
  forced_bos_token_id?: number | null;
  forced_eos_token_id?: number | number[] | null;
  [key: string]: unknown;
}

/** A JSON text that must hold an object. */
export function parse_config<C extends object>(json: string, file: string): C {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new LayerlineError("CONFIG_INVALID", `${file} is not JSON: ${String(error)}`, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new LayerlineError("CONFIG_INVALID", `${file} must hold a JSON object.`);
  }
  return value as C;
}

export const AutoConfig = {
  /**
   * A repo's config.json: kilobytes, no weights.
   *
   * @throws {LayerlineError} when the repo, the revision or the file isn't there, or isn't JSON
   */
  async from_pretrained(source: ModelSource, options: PretrainedOptions = {}): Promise<PretrainedConfig> {
    const hub = check_pretrained_options(options);
    const { signal } = options;
    if (signal?.aborted) throw aborted(signal);
    try {
      const { load_config } = await engine();
      const json = await load_config(check_source(source), { ...hub, ...(signal && { signal }) });
      return parse_config(json, "config.json");
    } catch (error) {
      throw as_layerline_error(error);
    }
  },
};
