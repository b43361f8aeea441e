/** The pipelines of models that write a text of another. */

import type { GenerateInputs } from "../generation_options.js";
import type { Seq2SeqLMOutput } from "../outputs.js";
import { refuse_option } from "../refuse.js";
import { list_of, Pipeline } from "./pipeline.js";

/** Everything that `generate` takes beside the texts. */
export type Seq2SeqPipelineOptions = Omit<
  GenerateInputs,
  "input_ids" | "inputs" | "attention_mask" | "token_type_ids" | "input_features"
>;

export interface Text2TextGenerationSingle {
  generated_text: string;
}

export interface SummarizationSingle {
  summary_text: string;
}

export interface TranslationSingle {
  translation_text: string;
}

/** Between which languages, for models whose tokenizers know languages. */
export interface TranslationPipelineOptions extends Seq2SeqPipelineOptions {
  /** The tokenizer's name of the texts' language: `"eng_Latn"` for NLLB, `"en_XX"` for mBART. */
  src_lang?: string | null;
  /** Its name of the language that they are translated to. */
  tgt_lang?: string | null;
}

const IN_THE_TEXT =
  'This tokenizer knows no languages: such models take the wanted one in the text, as in ">>fra<< Hello"; leave it out.';

abstract class Seq2SeqPipeline<Key extends string> extends Pipeline<Seq2SeqLMOutput> {
  protected abstract readonly key: Key;

  /** @internal */
  override async _call(texts: string | string[], options: Seq2SeqPipelineOptions = {}): Promise<Record<Key, string>[]> {
    const prefix = this.#prefix();
    const list = list_of(texts, this.task).map((text) => (typeof prefix === "string" ? prefix + text : text));
    const output = await this.model.generate({ ...options, ...this.encode(list) });
    const decoded = this.tokenizer.batch_decode(output, { skip_special_tokens: true });
    return decoded.map((text) => ({ [this.key]: text }) as Record<Key, string>);
  }

  /** What the model expects before each text: T5 is told the task in words. */
  #prefix(): unknown {
    const { prefix, task_specific_params: tasks } = this.model.config;
    const own: unknown = typeof tasks === "object" && tasks !== null ? Reflect.get(tasks, this.task) : undefined;
    return (typeof own === "object" && own !== null ? Reflect.get(own, "prefix") : undefined) ?? prefix;
  }
}

// The call signatures of the pipelines; see Callable.
export interface Text2TextGenerationPipeline {
  // biome-ignore lint/style/useShorthandFunctionType: a type can't be merged with a class
  (texts: string | string[], options?: Seq2SeqPipelineOptions): Promise<Text2TextGenerationSingle[]>;
}

export interface SummarizationPipeline {
  // biome-ignore lint/style/useShorthandFunctionType: a type can't be merged with a class
  (texts: string | string[], options?: Seq2SeqPipelineOptions): Promise<SummarizationSingle[]>;
}

export interface TranslationPipeline {
  // biome-ignore lint/style/useShorthandFunctionType: a type can't be merged with a class
  (texts: string | string[], options?: TranslationPipelineOptions): Promise<TranslationSingle[]>;
}

/** What a model writes of texts, whatever it was made for. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class Text2TextGenerationPipeline extends Seq2SeqPipeline<"generated_text"> {
  protected readonly key = "generated_text";
}

/** Summaries of texts, as long as the repo's generation_config.json says. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class SummarizationPipeline extends Seq2SeqPipeline<"summary_text"> {
  protected readonly key = "summary_text";
}

/** Texts in another language. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class TranslationPipeline extends Seq2SeqPipeline<"translation_text"> {
  protected readonly key = "translation_text";

  /** @internal */
  override async _call(
    texts: string | string[],
    { src_lang, tgt_lang, ...options }: TranslationPipelineOptions = {},
  ): Promise<TranslationSingle[]> {
    return super._call(texts, { ...this.#between(src_lang ?? undefined, tgt_lang ?? undefined), ...options });
  }

  /** Says the texts' language to the tokenizer; gives what makes the model write in the other. */
  #between(src_lang: string | undefined, tgt_lang: string | undefined): Seq2SeqPipelineOptions {
    const { tokenizer } = this;
    const own = tokenizer.src_lang;
    if (own === undefined) {
      for (const [name, value] of Object.entries({ src_lang, tgt_lang })) {
        if (value !== undefined) refuse_option(name, value, IN_THE_TEXT);
      }
      return {};
    }
    for (const [name, value] of Object.entries({ src_lang, tgt_lang })) {
      const needed = `Translation with this model takes a src_lang and a tgt_lang, such as "${own}".`;
      if (value === undefined) refuse_option(name, value, needed);
    }
    const forced_bos_token_id = tokenizer.token_to_id(tgt_lang ?? "");
    if (forced_bos_token_id === undefined) {
      refuse_option("tgt_lang", tgt_lang, `The tokenizer has no such language; its own are such as "${own}".`);
    }
    if (src_lang !== undefined) tokenizer.src_lang = src_lang;
    return { forced_bos_token_id };
  }
}
