import { Callable } from "../callable.js";
import type { ImageProcessor } from "../image/image_processor.js";
import type { ImageInput } from "../image/raw_image.js";
import type { PreTrainedModel } from "../model.js";
import { check_keys } from "../options.js";
import type { ImageClassifierOutput } from "../outputs.js";
import { type ClassScore, classes_of } from "./classes.js";

/** What the pipeline is made of. */
export interface ImagePipelineParts<Output> {
  task: string;
  model: PreTrainedModel<Output>;
  processor: ImageProcessor;
}

/** A class and how sure the model is of it. */
export type ImageClassificationSingle = ClassScore;

export interface ImageClassificationOptions {
  /** How many classes; null: all of them. Default 5. */
  top_k?: number | null;
}

// The call signatures of the pipeline; see Callable.
export interface ImageClassificationPipeline {
  (image: ImageInput, options?: ImageClassificationOptions): Promise<ImageClassificationSingle[]>;
  (images: readonly ImageInput[], options?: ImageClassificationOptions): Promise<ImageClassificationSingle[][]>;
}

/** The likeliest classes of images. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class ImageClassificationPipeline extends Callable {
  readonly task: string;
  readonly model: PreTrainedModel<ImageClassifierOutput>;
  readonly processor: ImageProcessor;

  /** @internal */
  constructor({ task, model, processor }: ImagePipelineParts<ImageClassifierOutput>) {
    super();
    this.task = task;
    this.model = model;
    this.processor = processor;
  }

  /** @internal */
  override async _call(
    images: ImageInput | readonly ImageInput[],
    options: ImageClassificationOptions = {},
  ): Promise<ImageClassificationSingle[] | ImageClassificationSingle[][]> {
    check_keys(options, ["top_k"], {}, {});
    const k = options.top_k === undefined ? 5 : options.top_k;
    const { pixel_values } = await this.processor(images);
    const { logits } = await this.model({ pixel_values });
    const classes = classes_of(logits, this.model.config, k);
    return Array.isArray(images) ? classes : (classes[0] ?? []);
  }

  /** Frees the model's memory; later calls reject with DISPOSED. */
  dispose(): Promise<void> {
    return this.model.dispose();
  }
}
