import { Callable } from "../callable.js";
import { LayerlineError } from "../errors.js";
import type { PreTrainedModel } from "../model.js";
import type { Tensor } from "../tensor.js";
import type { BatchEncoding, TokenizeOptions } from "../tokenize.js";
import type { PreTrainedTokenizer } from "../tokenizer.js";

/** What a pipeline is made of. */
export interface PipelineParts<Output> {
  task: string;
  model: PreTrainedModel<Output>;
  tokenizer: PreTrainedTokenizer;
}

/** A model and its tokenizer for one task; called, it goes from text to what the task asks for. */
export abstract class Pipeline<Output> extends Callable {
  readonly task: string;
  readonly model: PreTrainedModel<Output>;
  readonly tokenizer: PreTrainedTokenizer;

  /** @internal */
  constructor({ task, model, tokenizer }: PipelineParts<Output>) {
    super();
    this.task = task;
    this.model = model;
    this.tokenizer = tokenizer;
  }

  /** Frees the model's memory; later calls reject with DISPOSED. */
  dispose(): Promise<void> {
    return this.model.dispose();
  }

  /** The texts as the model takes them, cut to what it can read. */
  protected encode(texts: string[], options: Pick<TokenizeOptions, "text_pair"> = {}): BatchEncoding<Tensor<"int64">> {
    return encode_for(this.model, this.tokenizer, texts, options);
  }
}

/** Texts as a model takes them: padded, cut to what it can read, and with the inputs that it has. */
export function encode_for(
  model: Pick<PreTrainedModel<unknown>, "max_positions" | "input_names">,
  tokenizer: PreTrainedTokenizer,
  texts: string[],
  { max_length, ...options }: Pick<TokenizeOptions, "text_pair" | "max_length"> = {},
): BatchEncoding<Tensor<"int64">> {
  const longest = Math.min(max_length ?? Number.POSITIVE_INFINITY, tokenizer.model_max_length, model.max_positions);
  return tokenizer(texts, {
    ...options,
    // There is no padding token where one text is all.
    padding: texts.length > 1,
    truncation: true,
    max_length: Number.isSafeInteger(longest) ? longest : null,
    ...(!model.input_names.includes("token_type_ids") && { return_token_type_ids: false }),
  });
}

/** One text or several, as a list. */
export function list_of(texts: unknown, task: string): string[] {
  const list = typeof texts === "string" ? [texts] : texts;
  if (Array.isArray(list) && list.length > 0 && list.every((text) => typeof text === "string")) return list;
  throw new LayerlineError("TOKENIZER", `The pipeline "${task}" takes a text or an array of texts.`);
}
