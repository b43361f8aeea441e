import {
  type ArchitectureDescription,
  type RegisterOptions,
  register,
  registered_architectures,
} from "./architectures.js";
import { InlineBackend } from "./backend.js";
import type { PretrainedConfig } from "./config.js";
import type { Task } from "./engine.js";
import { env } from "./env.js";
import { LayerlineError } from "./errors.js";
import { wanted_threads } from "./hands.js";
import { type LoadingInfo, warnings_of } from "./loading_info.js";
import { PreTrainedModel } from "./model.js";
import {
  type CheckedModelOptions,
  check_model_options,
  check_new_model_options,
  type ModelOptions,
  type PretrainedModelOptions,
  type PretrainedOptions,
} from "./options.js";
import type {
  BaseModelOutput,
  CausalLMOutput,
  CLIPTextModelOutput,
  CLIPVisionModelOutput,
  ImageClassifierOutput,
  MaskedLMOutput,
  QuestionAnsweringModelOutput,
  Seq2SeqLMOutput,
  SequenceClassifierOutput,
  TokenClassifierOutput,
} from "./outputs.js";
import { refuse_option } from "./refuse.js";
import { check_source, type ModelSource, source_name } from "./source.js";
import { WorkerBackend } from "./worker_backend.js";

/** Makes models of one kind, of whatever architecture the config names. */
export interface AutoModelClass<Output> {
  /**
   * Opens a model. Resolves as soon as its config, its checkpoint's headers and the plan are known, which takes
   * kilobytes; the weights then stream in behind it (see {@link PreTrainedModel.ready}).
   *
   * @param source the repo, e.g. "HuggingFaceTB/SmolLM2-135M-Instruct"; a URL, a picked folder, files; or null where
   *   `state_dict` has the weights
   */
  from_pretrained(
    source: ModelSource | null,
    options: PretrainedModelOptions & { output_loading_info: true },
  ): Promise<[PreTrainedModel<Output>, LoadingInfo]>;
  from_pretrained(
    source: ModelSource | null,
    options?: PretrainedModelOptions & { output_loading_info?: false | null },
  ): Promise<PreTrainedModel<Output>>;

  /** A model with all its weights initialised as for training. */
  from_config(
    config: PretrainedConfig,
    options?: ModelOptions & Pick<PretrainedOptions, "signal">,
  ): Promise<PreTrainedModel<Output>>;

  /**
   * Lets all of the Auto classes, and pipelines, load models of an architecture of one's own: a known one with differences.
   *
   * @param model_type what their configs have
   * @throws {LayerlineError} UNSUPPORTED_OPTION; what a description lacks is said when a model is loaded
   */
  register(model_type: string, architecture: ArchitectureDescription, options?: RegisterOptions): void;
}

function auto_class<Output>(task: Task): AutoModelClass<Output> {
  async function open(source: string | object | null, checked: CheckedModelOptions) {
    const { engine, config_source, signal } = checked;
    if (checked.worker && typeof Worker === "undefined") {
      refuse_option("worker", true, "There are no workers here; leave it out to run on this thread.");
    }
    const report = checked.progress_callback;
    const progress_callback = report && ((event: Parameters<typeof report>[0]) => call_safely(() => report(event)));
    const load = checked.worker ? WorkerBackend.load : InlineBackend.load;
    const architectures = registered_architectures();
    const options = {
      ...engine,
      task,
      threads: wanted_threads(),
      allow_software_gpu: env.allow_software_gpu,
      ...(config_source !== undefined && { config_source }),
      ...(architectures !== undefined && { architectures }),
    };
    const backend = await load(source, options, progress_callback, signal);
    const { facts } = backend;
    if (facts.without_gpu !== undefined) console.warn(`The model runs on the CPU alone. ${facts.without_gpu}`);
    return { model: new PreTrainedModel<Output>(backend, task), facts };
  }

  async function from_pretrained(source: ModelSource | null, options: PretrainedModelOptions = {}) {
    const checked = check_model_options(options, on_a_page());
    const from = source_of(source, checked);
    const { model, facts } = await open(from, checked);
    for (const warning of warnings_of(facts.loading_info, facts.class_name, source_name(from))) console.warn(warning);
    return checked.output_loading_info ? [model, facts.loading_info] : model;
  }

  return {
    from_pretrained: from_pretrained as AutoModelClass<Output>["from_pretrained"],
    async from_config(config, options = {}) {
      return (await open(null, check_new_model_options(config, options, on_a_page()))).model;
    },
    register,
  };
}

/** As transformers has it, a state dict is given instead of a repo, and then needs a config. */
function source_of(source: ModelSource | null, { engine }: CheckedModelOptions): string | object | null {
  if (engine.state_dict === undefined) return check_source(source);
  if (source !== null) {
    refuse_option(
      "state_dict",
      engine.state_dict,
      "It can't be passed together with a model; give null as the source.",
    );
  }
  if (engine.config_json === undefined) {
    throw new LayerlineError("CONFIG_INVALID", "A state_dict needs a config object with a model_type beside it.");
  }
  return null;
}

/** Models without a head: they give hidden states. */
export const AutoModel: AutoModelClass<BaseModelOutput> = auto_class("base");

/** Causal language models: they give logits of each next token, and `generate` text. */
export const AutoModelForCausalLM: AutoModelClass<CausalLMOutput> = auto_class("causal-lm");

/** Masked language models: they give logits of each token itself. */
export const AutoModelForMaskedLM: AutoModelClass<MaskedLMOutput> = auto_class("masked-lm");

/** Models that put texts, or pairs of them, into classes. */
export const AutoModelForSequenceClassification: AutoModelClass<SequenceClassifierOutput> =
  auto_class("sequence-classification");

/** Models that put each token into a class. */
export const AutoModelForTokenClassification: AutoModelClass<TokenClassifierOutput> =
  auto_class("token-classification");

/** Models that find the answer to a question in a text. */
export const AutoModelForQuestionAnswering: AutoModelClass<QuestionAnsweringModelOutput> =
  auto_class("question-answering");

/** Models that put images into classes. */
export const AutoModelForImageClassification: AutoModelClass<ImageClassifierOutput> =
  auto_class("image-classification");

/** Models that write a text of what their encoder has read: summaries, translations. */
export const AutoModelForSeq2SeqLM: AutoModelClass<Seq2SeqLMOutput> = auto_class("seq2seq-lm");

/** Models that write down what is spoken; they read spectrograms. */
export const AutoModelForSpeechSeq2Seq: AutoModelClass<Seq2SeqLMOutput> = auto_class("speech-seq2seq");

/** CLIP's tower that reads texts; of a repo with both, only its weights are fetched. */
export const CLIPTextModelWithProjection: AutoModelClass<CLIPTextModelOutput> = auto_class("text-projection");

/** CLIP's tower that reads images; of a repo with both, only its weights are fetched. */
export const CLIPVisionModelWithProjection: AutoModelClass<CLIPVisionModelOutput> = auto_class("vision-projection");

function on_a_page(): boolean {
  return typeof window !== "undefined" && typeof document !== "undefined" && typeof Worker !== "undefined";
}

/** An error in a progress bar must not end a download: it is reported as an uncaught one is. */
function call_safely(call: () => void): void {
  try {
    call();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else console.error(error);
  }
}
