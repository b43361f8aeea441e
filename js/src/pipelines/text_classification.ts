import type { PretrainedConfig } from "../config.js";
import { labels_of } from "../labels.js";
import { check_keys } from "../options.js";
import type { SequenceClassifierOutput } from "../outputs.js";
import { list_of, Pipeline } from "./pipeline.js";
import { sigmoid, softmax, top_k } from "./scores.js";

/** A class and how sure the model is of it. */
export interface TextClassificationSingle {
  label: string;
  score: number;
}

export interface TextClassificationOptions<K extends number | null = number | null> {
  /** How many classes; null: all of them. Default 1. */
  top_k?: K;
}

/** `One` where the best alone is asked for, else `Several`. */
export type ForTopK<K, One, Several> = [K] extends [1] ? One : 1 extends K ? One | Several : Several;

// The call signatures of the pipeline; see Callable.
export interface TextClassificationPipeline {
  (text: string, options?: TextClassificationOptions): Promise<TextClassificationSingle[]>;
  /** The class of each text; with another `top_k` than 1 the classes of each. */
  <K extends number | null = 1>(
    texts: string[],
    options?: TextClassificationOptions<K>,
  ): Promise<ForTopK<K, TextClassificationSingle[], TextClassificationSingle[][]>>;
}

/** The likeliest classes of texts. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class TextClassificationPipeline extends Pipeline<SequenceClassifierOutput> {
  /** @internal */
  override async _call(
    texts: string | string[],
    options: TextClassificationOptions = {},
  ): Promise<TextClassificationSingle[] | TextClassificationSingle[][]> {
    check_keys(options, ["top_k"], {}, {});
    const k = options.top_k === undefined ? 1 : options.top_k;
    const { logits } = await this.model(this.encode(list_of(texts, this.task)));
    const labels = labels_of(this.model.config);
    const scores = scores_of(this.model.config);
    const classes = Array.from({ length: logits.dims[0] ?? 0 }, (_, i) =>
      top_k(scores(logits.at(i).data), k).map(({ index, score }) => ({
        label: labels[index] ?? `LABEL_${index}`,
        score,
      })),
    );
    if (k === 1) return classes.flat();
    return typeof texts === "string" ? (classes[0] ?? []) : classes;
  }
}

/** What a model's logits mean. */
export function scores_of(config: PretrainedConfig): (logits: Float32Array) => number[] {
  const { problem_type } = config;
  if (problem_type === "regression") return (logits) => [...logits];
  // A single class has nothing to be compared with.
  const apart = problem_type === "multi_label_classification" || labels_of(config).length === 1;
  return apart ? sigmoid : softmax;
}
