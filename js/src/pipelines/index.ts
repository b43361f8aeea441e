import { AutoFeatureExtractor } from "../audio/feature_extractor.js";
import {
  AutoModel,
  type AutoModelClass,
  AutoModelForCausalLM,
  AutoModelForImageClassification,
  AutoModelForMaskedLM,
  AutoModelForQuestionAnswering,
  AutoModelForSeq2SeqLM,
  AutoModelForSequenceClassification,
  AutoModelForSpeechSeq2Seq,
  AutoModelForTokenClassification,
} from "../auto.js";
import { LayerlineError } from "../errors.js";
import { AutoImageProcessor } from "../image/image_processor.js";
import { type PretrainedModelOptions, repo_options } from "../options.js";
import { refuse_option } from "../refuse.js";
import type { ModelSource } from "../source.js";
import { AutoTokenizer } from "../tokenizer.js";
import { AutomaticSpeechRecognitionPipeline } from "./automatic_speech_recognition.js";
import { FeatureExtractionPipeline } from "./feature_extraction.js";
import { FillMaskPipeline } from "./fill_mask.js";
import { ImageClassificationPipeline } from "./image_classification.js";
import type { PipelineParts } from "./pipeline.js";
import { QuestionAnsweringPipeline } from "./question_answering.js";
import { SummarizationPipeline, Text2TextGenerationPipeline, TranslationPipeline } from "./seq2seq.js";
import { TextClassificationPipeline } from "./text_classification.js";
import { TextGenerationPipeline } from "./text_generation.js";
import { together } from "./together.js";
import { TokenClassificationPipeline } from "./token_classification.js";
import { ZeroShotClassificationPipeline } from "./zero_shot_classification.js";
import { ZeroShotImageClassificationPipeline } from "./zero_shot_image_classification.js";

/** What each task's pipeline is. */
export interface Pipelines {
  "automatic-speech-recognition": AutomaticSpeechRecognitionPipeline;
  "feature-extraction": FeatureExtractionPipeline;
  "fill-mask": FillMaskPipeline;
  "image-classification": ImageClassificationPipeline;
  "question-answering": QuestionAnsweringPipeline;
  summarization: SummarizationPipeline;
  "text-classification": TextClassificationPipeline;
  "text-generation": TextGenerationPipeline;
  "text2text-generation": Text2TextGenerationPipeline;
  "token-classification": TokenClassificationPipeline;
  translation: TranslationPipeline;
  "zero-shot-classification": ZeroShotClassificationPipeline;
  "zero-shot-image-classification": ZeroShotImageClassificationPipeline;
}

/** Other names of tasks. */
const ALIASES = {
  "sentiment-analysis": "text-classification",
  ner: "token-classification",
  asr: "automatic-speech-recognition",
  embeddings: "feature-extraction",
} as const satisfies Record<string, keyof Pipelines>;

type Aliases = typeof ALIASES;

/** A translation from one language to another, for models that are told so: `translation_en_to_de`. */
type TranslationTask = `translation_${string}_to_${string}`;

/** What {@link pipeline} can be asked for. */
export type PipelineTask = keyof Pipelines | keyof Aliases | TranslationTask;

/** The pipeline of a task. */
export type PipelineOf<T extends PipelineTask> = T extends keyof Aliases
  ? Pipelines[Aliases[T]]
  : T extends keyof Pipelines
    ? Pipelines[T]
    : T extends TranslationTask
      ? TranslationPipeline
      : never;

/** The options of `from_pretrained`, for the model and its tokenizer. */
export type PipelineOptions = Omit<PretrainedModelOptions, "state_dict" | "output_loading_info">;

type Open<P> = (task: string, source: ModelSource, options: PipelineOptions) => Promise<P>;

/** Loads a task's model and its tokenizer side by side, and makes the pipeline of them. */
function opens<Output, P>(model: AutoModelClass<Output>, Made: new (parts: PipelineParts<Output>) => P): Open<P> {
  return async (task, source, options) => {
    const [tokenizer, loaded] = await Promise.allSettled([
      AutoTokenizer.from_pretrained(source, repo_options(options)),
      model.from_pretrained(source, options),
    ]);
    if (loaded.status === "rejected") throw loaded.reason;
    if (tokenizer.status === "fulfilled") {
      return new Made({ task, model: loaded.value, tokenizer: tokenizer.value });
    }
    await loaded.value.dispose();
    throw tokenizer.reason;
  };
}

const TASKS: { [T in keyof Pipelines]: Open<Pipelines[T]> } = {
  "automatic-speech-recognition": async (task, source, options) => {
    const [model, tokenizer, processor] = await together([
      AutoModelForSpeechSeq2Seq.from_pretrained(source, options),
      AutoTokenizer.from_pretrained(source, repo_options(options)),
      AutoFeatureExtractor.from_pretrained(source, repo_options(options)),
    ]);
    return new AutomaticSpeechRecognitionPipeline({ task, model, tokenizer, processor });
  },
  "feature-extraction": opens(AutoModel, FeatureExtractionPipeline),
  "fill-mask": opens(AutoModelForMaskedLM, FillMaskPipeline),
  "image-classification": async (task, source, options) => {
    const [model, processor] = await together([
      AutoModelForImageClassification.from_pretrained(source, options),
      AutoImageProcessor.from_pretrained(source, repo_options(options)),
    ]);
    return new ImageClassificationPipeline({ task, model, processor });
  },
  "question-answering": opens(AutoModelForQuestionAnswering, QuestionAnsweringPipeline),
  summarization: opens(AutoModelForSeq2SeqLM, SummarizationPipeline),
  "text-classification": opens(AutoModelForSequenceClassification, TextClassificationPipeline),
  "text-generation": opens(AutoModelForCausalLM, TextGenerationPipeline),
  "text2text-generation": opens(AutoModelForSeq2SeqLM, Text2TextGenerationPipeline),
  "token-classification": opens(AutoModelForTokenClassification, TokenClassificationPipeline),
  translation: opens(AutoModelForSeq2SeqLM, TranslationPipeline),
  "zero-shot-classification": opens(AutoModelForSequenceClassification, ZeroShotClassificationPipeline),
  "zero-shot-image-classification": ZeroShotImageClassificationPipeline.load,
};

/**
 * A model and its tokenizer, ready for a task. The weights stream in behind it; see {@link PreTrainedModel.ready}.
 *
 * @param model where both are: a repo's id, a URL, a picked folder or files
 * @throws {LayerlineError} UNSUPPORTED_TASK for a task that isn't known; what loading throws
 */
export async function pipeline<T extends PipelineTask>(
  task: T,
  model: ModelSource,
  options: PipelineOptions = {},
): Promise<PipelineOf<T>> {
  const name = Object.hasOwn(ALIASES, task) ? ALIASES[task as keyof Aliases] : task;
  const kind = /^translation_\w+_to_\w+$/.test(name) ? "translation" : name;
  const known = Object.hasOwn(TASKS, kind) ? TASKS[kind as keyof Pipelines] : undefined;
  if (known === undefined) {
    const tasks = [...Object.keys(TASKS), ...Object.keys(ALIASES)].join(", ");
    throw new LayerlineError("UNSUPPORTED_TASK", `There is no task ${JSON.stringify(task)}. Tasks: ${tasks}.`);
  }
  if (model == null) {
    throw new LayerlineError(
      "INVALID_REPO_ID",
      `No model is chosen for you: give pipeline("${task}", …) a repo id such as "org/name".`,
    );
  }
  for (const option of ["state_dict", "output_loading_info"]) {
    const value: unknown = Reflect.get(options, option);
    if (value != null) refuse_option(option, value, "Load the model and its tokenizer apart.");
  }
  return (await known(name, model, options)) as PipelineOf<T>;
}
