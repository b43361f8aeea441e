import { AutoModel } from "./auto.js";
import { type Dense, dense } from "./dense.js";
import type { EngineArray } from "./engine.js";
import { LayerlineError } from "./errors.js";
import type { PreTrainedModel } from "./model.js";
import { check_keys, repo_options } from "./options.js";
import type { BaseModelOutput } from "./outputs.js";
import type { PipelineOptions } from "./pipelines/index.js";
import { encode_for, list_of } from "./pipelines/pipeline.js";
import { normalize, pool } from "./pooling.js";
import { refuse_option } from "./refuse.js";
import { read_files, read_tensor } from "./repo_files.js";
import {
  type DenseConfig,
  MODULES,
  type Modules,
  PROMPTS,
  type Prompts,
  parse_dense,
  parse_modules,
  parse_pooling,
  parse_prompts,
  parse_transformer,
  type Step,
  TRANSFORMER_CONFIGS,
  type TransformerConfig,
} from "./sentence_modules.js";
import type { ModelSource } from "./source.js";
import { Tensor } from "./tensor.js";
import { AutoTokenizer, type PreTrainedTokenizer } from "./tokenizer.js";

export interface EncodeOptions {
  /** Bring vectors to length 1, whether the model's modules do or not. Default false. */
  normalize_embeddings?: boolean;
  /** The name of one of the model's prompts, which goes before each text. Default: the model's own choice. */
  prompt_name?: string | null;
  /** A prompt in its own words. */
  prompt?: string | null;
  /** How many texts are padded to one length and held together. Default 32. */
  batch_size?: number;
  /** Keep so many of each vector's first elements: for models whose vectors can be cut (Matryoshka). Default: all. */
  truncate_dim?: number | null;
}

interface Parts extends Prompts, TransformerConfig {
  model: PreTrainedModel<BaseModelOutput>;
  tokenizer: PreTrainedTokenizer;
  steps: Step[];
}

/** A model that makes one vector of a text, as sentence-transformers' class of that name. */
export class SentenceTransformer {
  readonly model: PreTrainedModel<BaseModelOutput>;
  readonly tokenizer: PreTrainedTokenizer;
  /** Texts of more tokens are cut. */
  readonly max_seq_length: number | undefined;
  /** What can be put before texts, by name. */
  readonly prompts: Readonly<Record<string, string>>;
  readonly default_prompt_name: string | undefined;
  readonly #steps: readonly Step[];
  readonly #do_lower_case: boolean;

  /** @internal */
  constructor({ model, tokenizer, steps, prompts, default_prompt_name, max_seq_length, do_lower_case }: Parts) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.max_seq_length = max_seq_length;
    this.prompts = prompts;
    this.default_prompt_name = default_prompt_name;
    this.#steps = steps;
    this.#do_lower_case = do_lower_case ?? false;
  }

  /**
   * Opens a sentence-transformers repo as its `modules.json` says; one without is a transformer whose tokens' mean is taken.
   *
   * @throws {LayerlineError} UNSUPPORTED_CONFIG for a module that isn't known, e.g. a Router; what loading throws
   */
  static async from_pretrained(source: ModelSource, options: PipelineOptions = {}): Promise<SentenceTransformer> {
    const shared = repo_options(options);
    const subfolder = options.subfolder ?? "";
    const [modules_json, prompts_json] = await read_files(source, [MODULES, PROMPTS], shared);
    const { transformer, after } = parse_modules(modules_json);
    const folder = (path: string) => [subfolder, path].filter((part) => part !== "").join("/");
    const file = (path: string, name: string) => (path === "" ? name : `${path}/${name}`);
    const configs = await read_files(
      source,
      [
        ...TRANSFORMER_CONFIGS.map((name) => file(transformer, name)),
        ...after.map(({ path }) => file(path, "config.json")),
      ],
      shared,
    );
    const own = configs.slice(TRANSFORMER_CONFIGS.length);
    const step_of = async ({ kind, path }: Modules["after"][number], i: number): Promise<Step> => {
      const name = file(path, "config.json");
      if (kind === "Normalize") return "normalize";
      if (kind === "Dense") {
        const weights = (tensor: string) => read_tensor(source, tensor, { ...shared, subfolder: folder(path) });
        return { dense: await read_dense(parse_dense(own[i], name), folder(path), weights) };
      }
      // Without a folder of its own there is no config of a Pooling: the one there is the transformer's.
      return { pool: parse_pooling(path === "" ? undefined : own[i], name) };
    };
    const steps = await Promise.all(after.map(step_of));
    const at = folder(transformer);
    const placed = { ...options, ...(at !== "" && { subfolder: at }) };
    const tokenizer = await AutoTokenizer.from_pretrained(source, repo_options(placed));
    return new SentenceTransformer({
      model: await AutoModel.from_pretrained(source, placed),
      tokenizer,
      steps,
      ...parse_prompts(prompts_json),
      ...parse_transformer(configs.slice(0, TRANSFORMER_CONFIGS.length)),
    });
  }

  /** A vector of each text, `[texts, width]`. */
  async encode(texts: string | string[], options: EncodeOptions = {}): Promise<Tensor<"float32">> {
    check_keys(options, ["normalize_embeddings", "prompt_name", "prompt", "batch_size", "truncate_dim"], {}, {});
    const { batch_size = 32, truncate_dim } = options;
    for (const [name, count] of Object.entries({ batch_size, truncate_dim: truncate_dim ?? 1 })) {
      if (!Number.isInteger(count) || count < 1) refuse_option(name, count, "It must be an integer of 1 or more.");
    }
    const prompt = this.#prompt(options);
    const given = list_of(texts, "SentenceTransformer.encode").map((text) => {
      const whole = prompt + text;
      return this.#do_lower_case ? whole.toLowerCase() : whole;
    });
    const batches: Tensor<"float32">[] = [];
    for (let start = 0; start < given.length; start += batch_size) {
      const whole = await this.#encode_batch(given.slice(start, start + batch_size));
      const vectors = truncate_dim == null ? whole : truncated(whole, truncate_dim);
      batches.push(options.normalize_embeddings ? normalize(vectors) : vectors);
    }
    return stacked(batches);
  }

  /** {@link encode} with the model's prompt for what is searched with, where it has one and none is given. */
  encode_query(texts: string | string[], options: EncodeOptions = {}): Promise<Tensor<"float32">> {
    return this.encode(texts, this.#prompted(options, ["query"]));
  }

  /** {@link encode} with the model's prompt for what is searched, where it has one and none is given. */
  encode_document(texts: string | string[], options: EncodeOptions = {}): Promise<Tensor<"float32">> {
    return this.encode(texts, this.#prompted(options, ["document", "passage", "corpus"]));
  }

  /** Frees the model's memory; later calls reject with DISPOSED. */
  dispose(): Promise<void> {
    return this.model.dispose();
  }

  async #encode_batch(texts: string[]): Promise<Tensor<"float32">> {
    const inputs = encode_for(this.model, this.tokenizer, texts, { max_length: this.max_seq_length ?? null });
    const { last_hidden_state } = await this.model(inputs);
    let vectors = last_hidden_state;
    for (const step of this.#steps) {
      if (step === "normalize") vectors = normalize(vectors);
      else if ("dense" in step) vectors = dense(vectors, step.dense);
      else vectors = joined(step.pool.map((way) => pool(last_hidden_state, inputs.attention_mask, way)));
    }
    return vectors;
  }

  #prompted(options: EncodeOptions, names: readonly string[]): EncodeOptions {
    const known = names.find((name) => Object.hasOwn(this.prompts, name));
    const wanted = options.prompt != null || options.prompt_name != null || known === undefined;
    return wanted ? options : { ...options, prompt_name: known };
  }

  #prompt({ prompt, prompt_name }: EncodeOptions): string {
    if (prompt != null) return prompt;
    const name = prompt_name ?? this.default_prompt_name;
    if (name === undefined) return "";
    const found = Object.hasOwn(this.prompts, name) ? this.prompts[name] : undefined;
    if (found !== undefined) return found;
    return refuse_option(
      "prompt_name",
      name,
      `The model's prompts: ${Object.keys(this.prompts).join(", ") || "none"}.`,
    );
  }
}

/** A Dense module with its weights. */
async function read_dense(
  { in_features, out_features, bias, activation }: DenseConfig,
  folder: string,
  read: (tensor: string) => Promise<EngineArray | undefined>,
): Promise<Dense> {
  const tensor = async (name: string, expected: readonly number[]) => {
    const found = await read(name);
    if (found === undefined || found.dims.join() !== expected.join()) {
      const has = found === undefined ? "missing" : `[${found.dims.join(", ")}]`;
      const message = `${folder}: ${name} is ${has}; its config.json says [${expected.join(", ")}].`;
      throw new LayerlineError("MISMATCHED_WEIGHT", message);
    }
    return new Tensor("float32", found.data, found.dims);
  };
  const weight = await tensor("linear.weight", [out_features, in_features]);
  return { weight, bias: bias ? await tensor("linear.bias", [out_features]) : undefined, activation };
}

/** The first elements of each vector; all where there are no more. */
function truncated(vectors: Tensor<"float32">, most: number): Tensor<"float32"> {
  const [texts = 0, width = 0] = vectors.dims;
  if (most >= width) return vectors;
  const data = new Float32Array(texts * most);
  for (let text = 0; text < texts; text++) {
    data.set(vectors.data.subarray(text * width, text * width + most), text * most);
  }
  return new Tensor("float32", data, [texts, most]);
}

/** Vectors of the same texts, one beside the other. */
function joined(parts: readonly Tensor<"float32">[]): Tensor<"float32"> {
  const [only, ...more] = parts;
  if (only === undefined) throw new LayerlineError("INTERNAL", "There is nothing to join.");
  if (more.length === 0) return only;
  const texts = only.dims[0] ?? 0;
  const rows = Array.from({ length: texts }, (_, text) => parts.flatMap((part) => [...part.at(text).data]));
  return new Tensor("float32", rows.flat(), [texts, rows[0]?.length ?? 0]);
}

/** Vectors of several texts, one below the other. */
function stacked(batches: readonly Tensor<"float32">[]): Tensor<"float32"> {
  const [only, ...more] = batches;
  if (only !== undefined && more.length === 0) return only;
  const width = only?.dims[1] ?? 0;
  const texts = batches.reduce((sum, { dims }) => sum + (dims[0] ?? 0), 0);
  const data = new Float32Array(texts * width);
  let at = 0;
  for (const batch of batches) {
    data.set(batch.data, at);
    at += batch.size;
  }
  return new Tensor("float32", data, [texts, width]);
}
