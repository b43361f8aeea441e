import { LayerlineError } from "../errors.js";
import { check_keys } from "../options.js";
import type { QuestionAnsweringModelOutput } from "../outputs.js";
import { refuse_option } from "../refuse.js";
import { list_of, Pipeline } from "./pipeline.js";
import { softmax } from "./scores.js";
import type { ForTopK } from "./text_classification.js";

export interface QuestionAnsweringSingle {
  answer: string;
  /** How likely the answer starts where it does, times how likely it ends there. */
  score: number;
}

export interface QuestionAnsweringOptions<K extends number = number> {
  /** How many answers. Default 1. */
  top_k?: K;
}

// The call signatures of the pipeline; see Callable.
export interface QuestionAnsweringPipeline {
  <K extends number = 1>(
    question: string,
    context: string,
    options?: QuestionAnsweringOptions<K>,
  ): Promise<ForTopK<K, QuestionAnsweringSingle, QuestionAnsweringSingle[]>>;
  /** A question with a context each. */
  <K extends number = 1>(
    questions: string[],
    contexts: string[],
    options?: QuestionAnsweringOptions<K>,
  ): Promise<ForTopK<K, QuestionAnsweringSingle[], QuestionAnsweringSingle[][]>>;
}

/** The parts of a text that answer a question. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class QuestionAnsweringPipeline extends Pipeline<QuestionAnsweringModelOutput> {
  /** @internal */
  override async _call(
    question: string | string[],
    context: string | string[],
    options: QuestionAnsweringOptions = {},
  ): Promise<unknown> {
    check_keys(options, ["top_k"], {}, {});
    const k = options.top_k ?? 1;
    if (!Number.isInteger(k) || k < 1) refuse_option("top_k", k, "It must be an integer of 1 or more.");
    const [questions, contexts] = [list_of(question, this.task), list_of(context, this.task)];
    if (questions.length !== contexts.length) {
      throw new LayerlineError("TOKENIZER", `${contexts.length} contexts for ${questions.length} questions.`);
    }
    const inputs = this.encode(questions, { text_pair: contexts });
    const { start_logits, end_logits } = await this.model(inputs);
    const answers = questions.map((_, row) => {
      const ids = Array.from(inputs.input_ids.at(row).data, Number);
      const allowed = this.#places(ids, inputs.attention_mask.at(row).data);
      const spans = best_spans(start_logits.at(row).data, end_logits.at(row).data, allowed, k);
      return spans.map(({ start, end, score }) => ({
        answer: this.tokenizer.decode(ids.slice(start, end + 1), { skip_special_tokens: true }),
        score,
      }));
    });
    const found = k === 1 ? answers.flat() : answers;
    return Array.isArray(question) ? found : found[0];
  }

  /** Which tokens are of the context, and where the one is that stands for no answer. */
  #places(ids: readonly number[], mask: BigInt64Array): Places {
    const { all_special_ids, sep_token_id } = this.tokenizer;
    const separator = ids.indexOf(sep_token_id ?? -1);
    if (separator === -1) {
      throw new LayerlineError("TOKENIZER", "The tokenizer has no sep_token, which parts a question from its context.");
    }
    const context = ids.map((id, i) => i > separator && mask[i] === 1n && !all_special_ids.includes(id));
    return { context, none: mask.indexOf(1n) };
  }
}

interface Places {
  context: readonly boolean[];
  none: number;
}

interface Span {
  start: number;
  end: number;
  score: number;
}

/** The best spans of a context, best first. What speaks for no answer at all makes each less likely. */
export function best_spans(
  start_logits: ArrayLike<number>,
  end_logits: ArrayLike<number>,
  { context, none }: Places,
  k: number,
): Span[] {
  const scores = (logits: ArrayLike<number>) =>
    softmax(Array.from(logits, (logit, i) => (context[i] || i === none ? logit : Number.NEGATIVE_INFINITY)));
  const [starts, ends] = [scores(start_logits), scores(end_logits)];
  const places = context.flatMap((allowed, i) => (allowed ? [i] : []));
  const best: Span[] = [];
  for (const [i, start] of places.entries()) {
    for (const end of places.slice(i)) {
      const score = (starts[start] ?? 0) * (ends[end] ?? 0);
      if (best.length === k && score <= (best.at(-1)?.score ?? 0)) continue;
      const at = best.findIndex((span) => span.score < score);
      best.splice(at === -1 ? best.length : at, 0, { start, end, score });
      best.splice(k);
    }
  }
  return best;
}
