/** Logits as probabilities that sum to 1. */
export function softmax(logits: ArrayLike<number>): number[] {
  const values = Array.from(logits);
  const largest = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const exponents = values.map((value) => Math.exp(value - largest));
  const sum = exponents.reduce((a, b) => a + b, 0);
  return exponents.map((value) => value / sum);
}

/** Each logit as the probability that it is so. */
export function sigmoid(logits: ArrayLike<number>): number[] {
  return Array.from(logits, (value) => 1 / (1 + Math.exp(-value)));
}

/** An index and its score. */
export interface Scored {
  index: number;
  score: number;
}

/** The `k` best, best first; all of them for null. Of equal scores the earlier comes first. */
export function top_k(scores: readonly number[], k: number | null): Scored[] {
  const sorted = scores.map((score, index) => ({ index, score })).sort((a, b) => b.score - a.score);
  return k === null ? sorted : sorted.slice(0, k);
}
