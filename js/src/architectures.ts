import { LayerlineError } from "./errors.js";
import { check_keys } from "./options.js";
import { refuse_option } from "./refuse.js";

/** What sets an architecture apart from the one that it is like; what isn't named is as there. */
export interface ArchitectureDifferences {
  /** Whether queries, keys and values have biases. */
  qkv_bias?: boolean;
  /** Whether the attention's output has one. */
  output_bias?: boolean;
  /** Whether the feed-forward layer has them. */
  mlp_bias?: boolean;
  /** Whether the feed-forward layer is `down(f(gate(x)) · up(x))` rather than `down(f(up(x)))`. */
  gated?: boolean;
  /** Whether attention and feed-forward layer both read what comes into the layer. */
  parallel?: boolean;
  /** Whether norms are LayerNorms rather than RMSNorms. */
  layer_norms?: boolean;
  /** Whether LayerNorms have biases. */
  norm_bias?: boolean;
  /** Whether checkpoints have the norms' weights less one, as Gemma's. */
  norms_from_one?: boolean;
  /** Whether checkpoints have linear layers as `[inputs, outputs]`, as GPT-2's. */
  transposed?: boolean;
  /** Whether rows of queries, keys and values lie head by head, as GPT-NeoX's. */
  qkv_by_head?: boolean;
  /** Whether norms of queries and keys are over all heads at once, as OLMo 2's. */
  qk_norm_over_all?: boolean;
  /** Multiplies queries times keys; a text is the config's key that has the number, here and below. */
  scale?: number | string;
  /** Multiplies the embeddings. */
  embedding_scale?: number | string;
  /** Multiplies the logits. */
  logit_scale?: number | string;
  /** A score s becomes `cap · tanh(s / cap)`. */
  attn_logit_softcapping?: number | string | null;
  /** A logit likewise. */
  final_logit_softcapping?: number | string | null;
}

/** What a checkpoint calls the modules; null where there is none. Those of a layer are named within it. */
export interface ArchitectureNames {
  /** The model without a head, in one with a head: `model`. */
  base?: string;
  embedding?: string;
  /** The table of learned positions. */
  positions?: string | null;
  embedding_norm?: string | null;
  /** The layers, each of which is called by its number below it. */
  layers?: string;
  last_norm?: string | null;
  /** The head that gives logits. */
  head?: string;
  /** One module with queries, keys and values, or the three. */
  qkv?: string | [query: string, key: string, value: string];
  qk_norm?: [query: string, key: string] | null;
  /** The attention's output. */
  output?: string;
  /** One module with gates and ups, or the two; where there is no gate, up. */
  gate_up?: string | [up: string] | [gate: string, up: string];
  down?: string;
  /** Before the attention. */
  input_norm?: string | null;
  /** Of the attention's output. */
  output_norm?: string | null;
  /** Before the feed-forward layer. */
  mlp_norm?: string | null;
  /** Of the feed-forward layer's output. */
  down_norm?: string | null;
  /** Of the residual stream behind the attention. */
  attended_norm?: string | null;
  /** Of the residual stream behind the feed-forward layer. */
  fed_norm?: string | null;
}

/** An architecture of one's own: a known decoder or encoder with differences. */
export interface ArchitectureDescription {
  /** The `model_type` of the one that it is like, e.g. "llama". */
  like: string;
  /** Of keys that its configs have under other names: the known name, and theirs. */
  config_keys?: Record<string, string>;
  description?: ArchitectureDifferences;
  names?: ArchitectureNames;
}

export interface RegisterOptions {
  /** Whether another description may have been registered before. Default false. */
  exist_ok?: boolean;
}

const registered = new Map<string, ArchitectureDescription>();

/**
 * Lets models be loaded whose config has a `model_type` that isn't known, or another one than is known by it.
 *
 * @throws {LayerlineError} UNSUPPORTED_OPTION; what a description lacks is said when a model is loaded
 */
export function register(
  model_type: string,
  architecture: ArchitectureDescription,
  { exist_ok = false }: RegisterOptions = {},
): void {
  if (typeof model_type !== "string" || model_type === "") {
    refuse_option("model_type", model_type, "It must be the text that configs have.");
  }
  if (typeof architecture !== "object" || architecture === null || typeof architecture.like !== "string") {
    refuse_option("architecture", architecture, 'It must be an object such as { like: "llama" }.');
  }
  check_keys(architecture, ["like", "config_keys", "description", "names"], {}, {});
  if (registered.has(model_type) && !exist_ok) {
    throw new LayerlineError(
      "UNSUPPORTED_OPTION",
      `The architecture ${JSON.stringify(model_type)} has been registered before; pass { exist_ok: true } to replace it.`,
    );
  }
  registered.set(model_type, structuredClone(architecture));
}

/** All that are registered, as the engine takes them; undefined where there are none. */
export function registered_architectures(): string | undefined {
  if (registered.size === 0) return undefined;
  return JSON.stringify([...registered].map(([model_type, architecture]) => ({ model_type, ...architecture })));
}
