import {
  type AudioFeatures,
  audio_config,
  feature_extractor,
  type WhisperFeatureExtractor,
} from "./audio/feature_extractor.js";
import { IMAGE_FILES, image_steps } from "./image/image_config.js";
import { type ImageFeatures, ImageProcessor } from "./image/image_processor.js";
import type { ImageInput } from "./image/raw_image.js";
import type { PretrainedOptions } from "./options.js";
import { read_files } from "./repo_files.js";
import type { ModelSource } from "./source.js";

/** An image processor or a feature extractor, as the repo's model takes it; it refuses what is the other's. */
export interface Processor {
  (images: ImageInput | readonly ImageInput[]): Promise<ImageFeatures>;
  (audio: Float32Array): Promise<AudioFeatures>;
  readonly config: Record<string, unknown>;
}

/** Processors of repos: of images, or of audio. */
export const AutoProcessor = {
  /**
   * A repo's processor, by its preprocessor_config.json: kilobytes.
   *
   * @throws {LayerlineError} ENTRY_NOT_FOUND where the repo has none; UNSUPPORTED_CONFIG for one that isn't known
   */
  async from_pretrained(source: ModelSource, options: PretrainedOptions = {}): Promise<Processor> {
    const files = await read_files(source, IMAGE_FILES, options);
    const audio = audio_config(files);
    const made: ImageProcessor | WhisperFeatureExtractor =
      audio === undefined ? new ImageProcessor(image_steps(files)) : await feature_extractor(audio);
    return made as unknown as Processor;
  },
};
