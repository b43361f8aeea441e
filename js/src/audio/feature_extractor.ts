import { Callable } from "../callable.js";
import { parse_config } from "../config.js";
import type { EngineFeatureExtractor } from "../engine.js";
import { as_layerline_error, LayerlineError } from "../errors.js";
import type { PretrainedOptions } from "../options.js";
import { read_files } from "../repo_files.js";
import type { ModelSource } from "../source.js";
import { Tensor } from "../tensor.js";
import { engine } from "../wasm.js";

/** What a feature extractor gives a model. */
export interface AudioFeatures {
  /** `[1, mels, frames]` */
  input_features: Tensor<"float32">;
}

// The call signature of WhisperFeatureExtractor; see Callable.
export interface WhisperFeatureExtractor {
  // biome-ignore lint/style/useShorthandFunctionType: a type can't be merged with a class
  (audio: Float32Array): Promise<AudioFeatures>;
}

/** From samples to the log-mel spectrogram that Whisper reads. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class WhisperFeatureExtractor extends Callable {
  /** preprocessor_config.json, or the part of processor_config.json that is about audio. */
  readonly config: Record<string, unknown>;
  /** Samples a second. */
  readonly sampling_rate: number;
  /** Seconds to which audio is padded or cut. */
  readonly chunk_length: number;
  readonly #engine: EngineFeatureExtractor;

  /** @internal */
  constructor(config: Record<string, unknown>, engine: EngineFeatureExtractor) {
    super();
    this.config = config;
    this.sampling_rate = engine.sampling_rate();
    this.chunk_length = engine.chunk_length();
    this.#engine = engine;
  }

  /**
   * @internal
   * @throws {LayerlineError} AUDIO for what isn't a Float32Array of finite samples
   */
  override async _call(audio: Float32Array): Promise<AudioFeatures> {
    if (!(audio instanceof Float32Array)) {
      throw new LayerlineError("AUDIO", "A feature extractor takes a Float32Array of the samples of one channel.");
    }
    if (audio.length > this.chunk_length * this.sampling_rate) {
      console.warn(
        `The audio is longer than the ${this.chunk_length} s that the model hears at once: the rest is left out. The ` +
          'pipeline "automatic-speech-recognition" hears it all with chunk_length_s.',
      );
    }
    try {
      const { dims, data } = this.#engine.extract(audio);
      return { input_features: new Tensor("float32", data, [1, ...dims]) };
    } catch (error) {
      throw as_layerline_error(error);
    }
  }
}

const FILES = ["processor_config.json", "preprocessor_config.json"];
const TYPE = "WhisperFeatureExtractor";

type Config = Record<string, unknown>;

/** What the files say of audio, those of {@link FILES} and maybe others; undefined where they say nothing. */
export function audio_config([processor, preprocessor]: readonly (string | undefined)[]): Config | undefined {
  const [nested, plain] = [processor, preprocessor].map((json, i) =>
    json === undefined ? undefined : parse_config<Config>(json, FILES[i] ?? ""),
  );
  const config = nested?.feature_extractor ?? plain;
  const is_audio =
    typeof config === "object" && config !== null && Reflect.get(config, "feature_extractor_type") === TYPE;
  return is_audio ? (config as Config) : undefined;
}

/** @throws {LayerlineError} CONFIG_INVALID, UNSUPPORTED_CONFIG */
export async function feature_extractor(config: Config): Promise<WhisperFeatureExtractor> {
  try {
    const { FeatureExtractor } = await engine();
    return new WhisperFeatureExtractor(config, new FeatureExtractor(JSON.stringify(config)));
  } catch (error) {
    throw as_layerline_error(error);
  }
}

/** Feature extractors of repos. */
export const AutoFeatureExtractor = {
  /**
   * A repo's feature extractor, by its preprocessor_config.json: kilobytes.
   *
   * @throws {LayerlineError} ENTRY_NOT_FOUND where the repo has none; UNSUPPORTED_CONFIG for one that isn't known
   */
  async from_pretrained(source: ModelSource, options: PretrainedOptions = {}): Promise<WhisperFeatureExtractor> {
    const files = await read_files(source, FILES, options);
    const config = audio_config(files);
    if (config !== undefined) return feature_extractor(config);
    if (files.every((file) => file === undefined)) {
      throw new LayerlineError(
        "ENTRY_NOT_FOUND",
        "The repo has no preprocessor_config.json, and so no feature extractor; does its model hear?",
      );
    }
    throw new LayerlineError(
      "UNSUPPORTED_CONFIG",
      `preprocessor_config.json: feature_extractor_type is not supported. Supported: ${TYPE}.`,
    );
  },
};
