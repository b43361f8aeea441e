import { DENSE_ACTIVATIONS, type Dense, type DenseActivation } from "./dense.js";
import { LayerlineError } from "./errors.js";
import type { Pooling } from "./pooling.js";

/** The name of the file that lists a sentence-transformers model's modules. */
export const MODULES = "modules.json";

/** What comes after the transformer, in order. */
export type Step = { pool: Pooling[] } | { dense: Dense } | "normalize";

/** A sentence-transformers model, as its `modules.json` says. */
export interface Modules {
  /** The transformer's folder in the repo; "" is the repo itself. */
  transformer: string;
  /** The folders of the modules after it that have a config, and what each module is. */
  after: { kind: "Pooling" | "Dense" | "Normalize"; path: string }[];
}

/** A JSON text of a repo, or undefined where there is no such file. */
export type Json = string | undefined;

/** A transformer alone: its tokens' mean is what sentence-transformers takes. */
const PLAIN: Modules = { transformer: "", after: [{ kind: "Pooling", path: "" }] };

/** What `modules.json` lists. */
export function parse_modules(json: Json): Modules {
  if (json === undefined) return PLAIN;
  const list = parse(json, MODULES);
  if (!Array.isArray(list)) throw invalid(MODULES, "must be a list of modules");
  const modules = list.map((module: unknown) => {
    const { type, path } = (module ?? {}) as Record<string, unknown>;
    if (typeof type !== "string" || typeof path !== "string")
      throw invalid(MODULES, "has a module without type or path");
    return { type, kind: type.split(".").at(-1), path };
  });
  const [first, ...rest] = modules;
  if (first?.kind !== "Transformer") throw unsupported(first?.type ?? "none", "the first module must be a Transformer");
  const after = rest.map(({ type, kind, path }) => {
    if (kind !== "Pooling" && kind !== "Dense" && kind !== "Normalize")
      throw unsupported(type, "known are Transformer, Pooling, Dense and Normalize");
    return { kind, path } as const;
  });
  if (!after.some(({ kind }) => kind === "Pooling"))
    throw invalid(MODULES, "has no Pooling, which makes one vector a text");
  return { transformer: first.path, after };
}

/** The switches of a Pooling's config, in the order in which what they turn on is joined. */
const SWITCHES: readonly [name: string, pooling: Pooling][] = [
  ["pooling_mode_cls_token", "cls"],
  ["pooling_mode_max_tokens", "max"],
  ["pooling_mode_mean_tokens", "mean"],
  ["pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"],
  ["pooling_mode_weightedmean_tokens", "weightedmean"],
  ["pooling_mode_lasttoken", "lasttoken"],
];

/** Which poolings a Pooling's `config.json` joins. */
export function parse_pooling(json: Json, file: string): Pooling[] {
  const config = json === undefined ? {} : object(json, file);
  if (config.include_prompt === false)
    throw unsupported("Pooling", `${file} leaves prompts out of it (include_prompt)`);
  const mode = config.pooling_mode;
  if (mode != null) {
    const named = [mode].flat();
    const known = SWITCHES.map(([, pooling]) => pooling);
    const odd = named.find((name) => !known.includes(name as Pooling));
    if (odd !== undefined) throw unsupported(String(odd), `ways to pool are ${known.join(", ")}`);
    return named as Pooling[];
  }
  const poolings = SWITCHES.filter(([name]) => config[name] ?? name === "pooling_mode_mean_tokens").map(([, it]) => it);
  if (poolings.length === 0) throw invalid(file, "turns no pooling_mode on");
  return poolings;
}

/** What a Dense's `config.json` says. */
export interface DenseConfig {
  in_features: number;
  out_features: number;
  bias: boolean;
  activation: DenseActivation;
}

/** Which vectors a module reads and writes, where a config names them: those that texts have. */
const VECTORS = "sentence_embedding";

export function parse_dense(json: Json, file: string): DenseConfig {
  if (json === undefined) throw invalid(file, "is missing: a Dense module is described there");
  const config = object(json, file);
  const { in_features, out_features, bias = true, use_residual, activation_function } = config;
  const features = (key: string, value: unknown) => {
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
    throw invalid(file, `must have a positive integer as ${key}`);
  };
  if (typeof bias !== "boolean") throw invalid(file, "must have true or false as bias");
  if (use_residual === true) throw unsupported("Dense", `${file} adds what it reads to what it makes (use_residual)`);
  for (const key of ["module_input_name", "module_output_name"]) {
    const name = config[key] ?? VECTORS;
    if (name !== VECTORS) throw unsupported("Dense", `${file} says ${key}: ${name}; it can be ${VECTORS}`);
  }
  const activation = String(activation_function ?? "Tanh")
    .split(".")
    .at(-1) as DenseActivation;
  if (!DENSE_ACTIVATIONS.includes(activation))
    throw unsupported(String(activation_function), `activations of a Dense are ${DENSE_ACTIVATIONS.join(", ")}`);
  return {
    in_features: features("in_features", in_features),
    out_features: features("out_features", out_features),
    bias,
    activation,
  };
}

/** The files that the transformer's settings can be in: sentence-transformers has named it after some models. */
export const TRANSFORMER_CONFIGS = ["bert", "roberta", "distilbert", "xlm-roberta", "albert", "camembert", "xlnet"].map(
  (name) => `sentence_${name}_config.json`,
);

export interface TransformerConfig {
  max_seq_length?: number;
  do_lower_case?: boolean;
}

/** What the transformer's settings say; of several files the first. */
export function parse_transformer(texts: readonly Json[]): TransformerConfig {
  const index = texts.findIndex((text) => text !== undefined);
  const config = object(texts[index] ?? "{}", TRANSFORMER_CONFIGS[index] ?? "");
  return {
    ...(typeof config.max_seq_length === "number" && { max_seq_length: config.max_seq_length }),
    ...(config.do_lower_case === true && { do_lower_case: true }),
  };
}

/** What is put before texts, by its name. */
export interface Prompts {
  prompts: Record<string, string>;
  default_prompt_name: string | undefined;
}

export const PROMPTS = "config_sentence_transformers.json";

export function parse_prompts(json: Json): Prompts {
  const { prompts, default_prompt_name } = object(json ?? "{}", PROMPTS);
  const entries = typeof prompts === "object" && prompts !== null ? Object.entries(prompts) : [];
  return {
    prompts: Object.fromEntries(entries.filter(([, prompt]) => typeof prompt === "string")),
    default_prompt_name: typeof default_prompt_name === "string" ? default_prompt_name : undefined,
  };
}

function parse(json: string, file: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw invalid(file, `is not JSON: ${String(error)}`);
  }
}

function object(json: string, file: string): Record<string, unknown> {
  const value = parse(json, file);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw invalid(file, "must hold a JSON object");
}

function invalid(file: string, why: string): LayerlineError {
  return new LayerlineError("CONFIG_INVALID", `${file} ${why}.`);
}

function unsupported(what: string, known: string): LayerlineError {
  return new LayerlineError("UNSUPPORTED_CONFIG", `The module ${what} is not supported: ${known}.`);
}
