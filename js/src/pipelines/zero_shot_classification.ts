import type { PretrainedConfig } from "../config.js";
import { LayerlineError } from "../errors.js";
import { labels_of } from "../labels.js";
import { check_keys } from "../options.js";
import type { SequenceClassifierOutput } from "../outputs.js";
import { list_of, Pipeline, type PipelineParts } from "./pipeline.js";
import { softmax, top_k } from "./scores.js";

export interface ZeroShotClassificationSingle {
  /** The text. */
  sequence: string;
  /** The candidates, the likeliest first. */
  labels: string[];
  scores: number[];
}

export interface ZeroShotClassificationOptions {
  /** What is claimed of a text, with the candidate in place of `{}`. Default "This example is {}." */
  hypothesis_template?: string;
  /** Whether several candidates can be true: then their scores are apart, else they sum to 1. Default false. */
  multi_label?: boolean;
}

// The call signatures of the pipeline; see Callable.
export interface ZeroShotClassificationPipeline {
  (
    text: string,
    candidate_labels: string | string[],
    options?: ZeroShotClassificationOptions,
  ): Promise<ZeroShotClassificationSingle>;
  (
    texts: string[],
    candidate_labels: string | string[],
    options?: ZeroShotClassificationOptions,
  ): Promise<ZeroShotClassificationSingle[]>;
}

/** Classes that a model was never trained on: how far a text entails that it is of each, says one of language inference. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class ZeroShotClassificationPipeline extends Pipeline<SequenceClassifierOutput> {
  readonly #entailment: number;
  readonly #contradiction: number;

  /** @internal */
  constructor(parts: PipelineParts<SequenceClassifierOutput>) {
    super(parts);
    this.#entailment = class_of(parts.model.config, ["entailment"], 2);
    this.#contradiction = class_of(parts.model.config, ["contradiction", "not_entailment"], 0);
  }

  /** @internal */
  override async _call(
    texts: string | string[],
    candidate_labels: string | string[],
    options: ZeroShotClassificationOptions = {},
  ): Promise<ZeroShotClassificationSingle | ZeroShotClassificationSingle[] | undefined> {
    check_keys(options, ["hypothesis_template", "multi_label"], {}, {});
    const { hypothesis_template = "This example is {}.", multi_label = false } = options;
    const candidates = list_of(candidate_labels, this.task);
    const found: ZeroShotClassificationSingle[] = [];
    for (const sequence of list_of(texts, this.task)) {
      const hypotheses = candidates.map((label) => hypothesis_template.replace("{}", () => label));
      const inputs = this.encode(
        hypotheses.map(() => sequence),
        { text_pair: hypotheses },
      );
      const { logits } = await this.model(inputs);
      const pairs = candidates.map((_, i) => {
        const { data } = logits.at(i);
        return [data[this.#contradiction], data[this.#entailment]].map((logit) => logit ?? Number.NaN);
      });
      const scores =
        multi_label || candidates.length === 1
          ? pairs.map((pair) => softmax(pair)[1] ?? 0)
          : softmax(pairs.map(([, entails]) => entails ?? 0));
      const sorted = top_k(scores, null);
      found.push({
        sequence,
        labels: sorted.map(({ index }) => candidates[index] ?? ""),
        scores: sorted.map(({ score }) => score),
      });
    }
    return typeof texts === "string" ? found[0] : found;
  }
}

/** A class by one of its names; `otherwise` as transformers.js guesses. */
function class_of(config: PretrainedConfig, names: readonly string[], otherwise: number): number {
  const labels = labels_of(config).map((label) => label.toLowerCase());
  for (const name of names) if (labels.includes(name)) return labels.indexOf(name);
  if (otherwise >= labels.length) {
    throw new LayerlineError(
      "CONFIG_INVALID",
      `config.json: id2label has no class "${names[0]}"; zero-shot classification needs a model of language inference.`,
    );
  }
  console.warn(`There is no class "${names[0]}" in id2label: class ${otherwise} is taken for it.`);
  return otherwise;
}
