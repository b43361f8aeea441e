import type { PretrainedConfig } from "../config.js";
import { labels_of } from "../labels.js";
import type { Tensor } from "../tensor.js";
import { sigmoid, softmax, top_k } from "./scores.js";

/** A class and how sure the model is of it. */
export interface ClassScore {
  label: string;
  score: number;
}

/** Of each row of a classifier's logits, `[batch, labels]`, the `k` likeliest classes; all of them for null. */
export function classes_of(logits: Tensor<"float32">, config: PretrainedConfig, k: number | null): ClassScore[][] {
  const labels = labels_of(config);
  const scores = scores_of(config);
  return Array.from({ length: logits.dims[0] ?? 0 }, (_, i) =>
    top_k(scores(logits.at(i).data), k).map(({ index, score }) => ({
      label: labels[index] ?? `LABEL_${index}`,
      score,
    })),
  );
}

/** What a model's logits mean. */
function scores_of(config: PretrainedConfig): (logits: Float32Array) => number[] {
  const { problem_type } = config;
  if (problem_type === "regression") return (logits) => [...logits];
  // A single class has nothing to be compared with.
  const apart = problem_type === "multi_label_classification" || labels_of(config).length === 1;
  return apart ? sigmoid : softmax;
}
