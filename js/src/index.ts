export type {
  ArchitectureDescription,
  ArchitectureDifferences,
  ArchitectureNames,
  RegisterOptions,
} from "./architectures.js";
export type { AsrChunk, AsrText } from "./audio/decode_asr.js";
export { type AudioFeatures, AutoFeatureExtractor, WhisperFeatureExtractor } from "./audio/feature_extractor.js";
export { type ReadAudioOptions, read_audio } from "./audio/read_audio.js";
export {
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
  CLIPTextModelWithProjection,
  CLIPVisionModelWithProjection,
} from "./auto.js";
export {
  type CachedFileInfo,
  type CachedRepoInfo,
  type CachedRevisionInfo,
  cache,
  type DeleteOptions,
  type HFCacheInfo,
} from "./cache.js";
export type { CacheDirOptions, CacheOptions } from "./cache_options.js";
export { AutoConfig, type GenerationConfig, type PretrainedConfig } from "./config.js";
export type { ConfigOverrides } from "./config_overrides.js";
export type { AdapterStats, Device, LayerInfo, ModelStats, ProgressInfo } from "./engine.js";
export { type Env, env, type WasmPaths } from "./env.js";
export { ERROR_CODES, type ErrorCode, LayerlineError } from "./errors.js";
export type { DictGenerateInputs, GenerateInputs, GenerationOptions } from "./generation_options.js";
export type { GridLike } from "./grid.js";
export type { ImageInputs } from "./image/image_inputs.js";
export { AutoImageProcessor, type ImageFeatures, ImageProcessor } from "./image/image_processor.js";
export { type Channels, type ImageInput, RawImage } from "./image/raw_image.js";
export type { IdsLike } from "./inputs.js";
export { load_sharded_checkpoint } from "./load_sharded_checkpoint.js";
export type { IncompatibleKeys, LoadingInfo } from "./loading_info.js";
export { type ForwardOutput, type GenerateOutput, PreTrainedModel } from "./model.js";
export type { ModelInputs } from "./model_inputs.js";
export type {
  DType,
  ModelOptions,
  PretrainedModelOptions,
  PretrainedOptions,
  ShardedCheckpointOptions,
} from "./options.js";
export type {
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
  WithAttentions,
  WithHiddenStates,
  WithLoss,
  WithSeq2SeqAttentions,
  WithSeq2SeqHiddenStates,
} from "./outputs.js";
export { DynamicCache } from "./past_key_values.js";
export type {
  AudioInput,
  AutomaticSpeechRecognitionOptions,
  AutomaticSpeechRecognitionPipeline,
} from "./pipelines/automatic_speech_recognition.js";
export type {
  FeatureExtractionOptions,
  FeatureExtractionPipeline,
} from "./pipelines/feature_extraction.js";
export type { FillMaskOptions, FillMaskPipeline, FillMaskSingle } from "./pipelines/fill_mask.js";
export type {
  ImageClassificationOptions,
  ImageClassificationPipeline,
  ImageClassificationSingle,
} from "./pipelines/image_classification.js";
export { type PipelineOf, type PipelineOptions, type PipelineTask, pipeline } from "./pipelines/index.js";
export type {
  QuestionAnsweringOptions,
  QuestionAnsweringPipeline,
  QuestionAnsweringSingle,
} from "./pipelines/question_answering.js";
export type {
  Seq2SeqPipelineOptions,
  SummarizationPipeline,
  SummarizationSingle,
  Text2TextGenerationPipeline,
  Text2TextGenerationSingle,
  TranslationPipeline,
  TranslationPipelineOptions,
  TranslationSingle,
} from "./pipelines/seq2seq.js";
export type {
  TextClassificationOptions,
  TextClassificationPipeline,
  TextClassificationSingle,
} from "./pipelines/text_classification.js";
export type {
  Chat,
  ChatGenerationSingle,
  TextGenerationOptions,
  TextGenerationPipeline,
  TextGenerationSingle,
} from "./pipelines/text_generation.js";
export type {
  TokenClassificationGroup,
  TokenClassificationOptions,
  TokenClassificationPipeline,
  TokenClassificationSingle,
} from "./pipelines/token_classification.js";
export type {
  ZeroShotClassificationOptions,
  ZeroShotClassificationPipeline,
  ZeroShotClassificationSingle,
} from "./pipelines/zero_shot_classification.js";
export type {
  ZeroShotImageClassificationOptions,
  ZeroShotImageClassificationPipeline,
  ZeroShotImageClassificationSingle,
} from "./pipelines/zero_shot_image_classification.js";
export { AutoProcessor, type Processor } from "./processor.js";
export { type QuantizationConfig, type QuantizedWeights, QuantoConfig } from "./quantization.js";
export { type EncodeOptions, SentenceTransformer } from "./sentence_transformer.js";
export type { SpeechInputs } from "./seq2seq_inputs.js";
export type { ModelSource, RepoFiles } from "./source.js";
export type { RawTensor, StateDict } from "./state_dict.js";
export { InterruptableStoppingCriteria, StoppingCriteria, StoppingCriteriaList } from "./stopping.js";
export { BaseStreamer, TextStreamer, type TextStreamerOptions } from "./streamer.js";
export { type DataType, type DataTypeMap, type Element, type NestedArray, type SliceRange, Tensor } from "./tensor.js";
export type { BatchEncoding, TokenizeOptions } from "./tokenize.js";
export {
  AutoTokenizer,
  type ChatTemplateOptions,
  type DecodeOptions,
  type Message,
  PreTrainedTokenizer,
} from "./tokenizer.js";
