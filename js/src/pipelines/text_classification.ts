import { check_keys } from "../options.js";
import type { SequenceClassifierOutput } from "../outputs.js";
import { type ClassScore, classes_of } from "./classes.js";
import { list_of, Pipeline } from "./pipeline.js";

/** A class and how sure the model is of it. */
export type TextClassificationSingle = ClassScore;

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
    const classes = classes_of(logits, this.model.config, k);
    if (k === 1) return classes.flat();
    return typeof texts === "string" ? (classes[0] ?? []) : classes;
  }
}
