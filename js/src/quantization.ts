/** Rounding weights to integers as they come: transformers' `QuantoConfig`. */

import type { EngineLoadOptions } from "./engine.js";
import { refuse_option } from "./refuse.js";

/** The integers that weights can be rounded to. */
export type QuantizedWeights = "int8" | "int4";

/** What `quantization_config` may be: transformers' `QuantoConfig`, or the object that it is written as. */
export interface QuantizationConfig {
  quant_method?: "quanto";
  /** Default "int8": a scale for each row. "int4": a scale and a zero for 128 elements of a row, or fewer where that doesn't divide it. */
  weights?: QuantizedWeights;
  activations?: null;
  /** Modules that stay as they are, with all that they have: `["lm_head"]`. Embeddings, heads and routers do in any case. */
  modules_to_not_convert?: string[] | null;
}

/** Has the linear layers' weights rounded to integers while they are loaded, as optimum-quanto rounds them. */
export class QuantoConfig implements QuantizationConfig {
  readonly quant_method = "quanto";
  readonly weights: QuantizedWeights;
  readonly activations = null;
  readonly modules_to_not_convert: string[] | null;

  constructor({ weights = "int8", activations = null, modules_to_not_convert = null }: QuantizationConfig = {}) {
    check_activations(activations);
    this.weights = check_weights(weights);
    this.modules_to_not_convert = modules_to_not_convert;
  }
}

/** transformers.js' names for what a `dtype` says of this. */
const DTYPES: Record<string, QuantizedWeights> = {
  q8: "int8",
  int8: "int8",
  q4: "int4",
  q4f16: "int4",
  int4: "int4",
};

/** The integers that a `dtype` asks for, if it does. */
export function quantized_dtype(dtype: unknown): QuantizedWeights | undefined {
  return typeof dtype === "string" && Object.hasOwn(DTYPES, dtype) ? DTYPES[dtype] : undefined;
}

/** The option `quantization_config`, and what `dtype` says of it, for the engine. */
export function check_quantization(
  config: unknown,
  dtype: unknown,
): Pick<EngineLoadOptions, "round_to" | "modules_to_not_convert"> {
  const by_dtype = quantized_dtype(dtype);
  if (config == null) return by_dtype === undefined ? {} : { round_to: by_dtype };
  if (typeof config !== "object") return refuse_config(config);
  const {
    quant_method = "quanto",
    weights = "int8",
    activations,
    modules_to_not_convert,
  } = config as Record<string, unknown>;
  if (quant_method !== "quanto") return refuse_config(config);
  check_activations(activations);
  const round_to = check_weights(weights);
  if (by_dtype !== undefined && by_dtype !== round_to) {
    refuse_option("dtype", dtype, `quantization_config says "${round_to}"; give one of the two.`);
  }
  if (modules_to_not_convert == null) return { round_to };
  const named: unknown = modules_to_not_convert;
  if (!Array.isArray(named) || !named.every((name): name is string => typeof name === "string" && name !== "")) {
    return refuse_option("quantization_config.modules_to_not_convert", named, "It must be a list of modules' names.");
  }
  return { round_to, modules_to_not_convert: JSON.stringify(named) };
}

function refuse_config(config: unknown): never {
  return refuse_option(
    "quantization_config",
    JSON.stringify(config),
    'Give new QuantoConfig({ weights: "int8" }) or "int4"; a checkpoint that is quantised says so itself.',
  );
}

function check_weights(weights: unknown): QuantizedWeights {
  if (weights === "int8" || weights === "int4") return weights;
  return refuse_option("quantization_config.weights", weights, 'Weights are rounded to "int8" or "int4".');
}

function check_activations(activations: unknown): void {
  if (activations != null)
    refuse_option("quantization_config.activations", activations, "Activations stay floats; leave it out.");
}
