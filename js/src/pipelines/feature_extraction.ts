import { check_keys } from "../options.js";
import type { BaseModelOutput } from "../outputs.js";
import { normalize, type Pooling, pool, quantize_embeddings } from "../pooling.js";
import { refuse_option } from "../refuse.js";
import type { Tensor } from "../tensor.js";
import { list_of, Pipeline } from "./pipeline.js";

export interface FeatureExtractionOptions {
  /** How the vectors of a text's tokens become one. Default "none": they don't. */
  pooling?: "none" | "mean" | "cls" | "first_token" | "last_token" | "eos";
  /** Whether vectors are brought to length 1. Default false. */
  normalize?: boolean;
  /** Keep of each number its sign, as a bit. Default false. */
  quantize?: boolean;
  /** Eight bits as a signed byte (the default), or as an unsigned one. */
  precision?: "binary" | "ubinary";
}

const POOLINGS: Record<NonNullable<FeatureExtractionOptions["pooling"]>, Pooling | undefined> = {
  none: undefined,
  mean: "mean",
  cls: "cls",
  first_token: "cls",
  last_token: "lasttoken",
  eos: "lasttoken",
};

// The call signatures of the pipeline; see Callable.
export interface FeatureExtractionPipeline {
  (
    texts: string | string[],
    options: FeatureExtractionOptions & { quantize: true; precision: "ubinary" },
  ): Promise<Tensor<"uint8">>;
  (
    texts: string | string[],
    options: FeatureExtractionOptions & { quantize: true; precision?: "binary" },
  ): Promise<Tensor<"int8">>;
  (texts: string | string[], options?: FeatureExtractionOptions & { quantize?: false }): Promise<Tensor<"float32">>;
}

/** Vectors of tokens, `[batch, n, width]`, or of texts, `[batch, width]`. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class FeatureExtractionPipeline extends Pipeline<BaseModelOutput> {
  /** @internal */
  override async _call(texts: string | string[], options: FeatureExtractionOptions = {}): Promise<Tensor> {
    check_keys(options, ["pooling", "normalize", "quantize", "precision"], {}, {});
    const { pooling = "none", precision = "binary" } = options;
    if (!Object.hasOwn(POOLINGS, pooling)) {
      refuse_option("pooling", pooling, `Ways to pool: ${Object.keys(POOLINGS).join(", ")}.`);
    }
    if (!["binary", "ubinary"].includes(precision)) {
      refuse_option("precision", precision, 'Give "binary" or "ubinary".');
    }
    const inputs = this.encode(list_of(texts, this.task));
    const { last_hidden_state } = await this.model(inputs);
    const way = POOLINGS[pooling];
    const pooled = way ? pool(last_hidden_state, inputs.attention_mask, way) : last_hidden_state;
    const vectors = options.normalize ? normalize(pooled) : pooled;
    return options.quantize ? quantize_embeddings(vectors, precision) : vectors;
  }
}
