import { CLIPTextModelWithProjection, CLIPVisionModelWithProjection } from "../auto.js";
import { Callable } from "../callable.js";
import type { EngineArray } from "../engine.js";
import { LayerlineError } from "../errors.js";
import { AutoImageProcessor, type ImageProcessor } from "../image/image_processor.js";
import type { ImageInput } from "../image/raw_image.js";
import type { PreTrainedModel } from "../model.js";
import { check_keys, repo_options } from "../options.js";
import type { CLIPTextModelOutput, CLIPVisionModelOutput } from "../outputs.js";
import { normalize } from "../pooling.js";
import { read_tensor } from "../repo_files.js";
import type { ModelSource } from "../source.js";
import type { Tensor } from "../tensor.js";
import { AutoTokenizer, type PreTrainedTokenizer } from "../tokenizer.js";
import type { PipelineOptions } from "./index.js";
import { encode_for, list_of } from "./pipeline.js";
import { softmax, top_k } from "./scores.js";
import { together } from "./together.js";

/** What the pipeline is made of. */
export interface ZeroShotImageParts {
  task: string;
  text_model: PreTrainedModel<CLIPTextModelOutput>;
  vision_model: PreTrainedModel<CLIPVisionModelOutput>;
  tokenizer: PreTrainedTokenizer;
  processor: ImageProcessor;
  /** The logarithm of what similarities are multiplied by. */
  logit_scale: number;
}

/** A candidate and how well it fits, among all candidates. */
export interface ZeroShotImageClassificationSingle {
  score: number;
  label: string;
}

export interface ZeroShotImageClassificationOptions {
  /** What is said of an image, with the candidate in place of `{}`. Default "This is a photo of {}" */
  hypothesis_template?: string;
}

// The call signatures of the pipeline; see Callable.
export interface ZeroShotImageClassificationPipeline {
  (
    image: ImageInput,
    candidate_labels: string | string[],
    options?: ZeroShotImageClassificationOptions,
  ): Promise<ZeroShotImageClassificationSingle[]>;
  (
    images: readonly ImageInput[],
    candidate_labels: string | string[],
    options?: ZeroShotImageClassificationOptions,
  ): Promise<ZeroShotImageClassificationSingle[][]>;
}

/** Which of some texts fits an image best, by a model that knows nothing of the texts beforehand. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class ZeroShotImageClassificationPipeline extends Callable {
  readonly task: string;
  readonly text_model: PreTrainedModel<CLIPTextModelOutput>;
  readonly vision_model: PreTrainedModel<CLIPVisionModelOutput>;
  readonly tokenizer: PreTrainedTokenizer;
  readonly processor: ImageProcessor;
  readonly #scale: number;

  /** @internal */
  constructor({ task, text_model, vision_model, tokenizer, processor, logit_scale }: ZeroShotImageParts) {
    super();
    this.task = task;
    this.text_model = text_model;
    this.vision_model = vision_model;
    this.tokenizer = tokenizer;
    this.processor = processor;
    this.#scale = Math.exp(logit_scale);
  }

  /**
   * Loads both towers of a repo, each with its own weights alone.
   *
   * @internal
   */
  static async load(
    task: string,
    source: ModelSource,
    options: PipelineOptions,
  ): Promise<ZeroShotImageClassificationPipeline> {
    const { variant, use_safetensors } = options;
    const checkpoint = { ...(variant != null && { variant }), ...(use_safetensors != null && { use_safetensors }) };
    const [text_model, vision_model, tokenizer, processor, logit_scale] = await together([
      CLIPTextModelWithProjection.from_pretrained(source, options),
      CLIPVisionModelWithProjection.from_pretrained(source, options),
      AutoTokenizer.from_pretrained(source, repo_options(options)),
      AutoImageProcessor.from_pretrained(source, repo_options(options)),
      read_tensor(source, "logit_scale", { ...repo_options(options), ...checkpoint }).then(scale_of),
    ]);
    const parts = { task, text_model, vision_model, tokenizer, processor, logit_scale };
    return new ZeroShotImageClassificationPipeline(parts);
  }

  /** @internal */
  override async _call(
    images: ImageInput | readonly ImageInput[],
    candidate_labels: string | string[],
    options: ZeroShotImageClassificationOptions = {},
  ): Promise<ZeroShotImageClassificationSingle[] | ZeroShotImageClassificationSingle[][]> {
    check_keys(options, ["hypothesis_template"], {}, {});
    const { hypothesis_template = "This is a photo of {}" } = options;
    const candidates = list_of(candidate_labels, this.task);
    const texts = candidates.map((label) => hypothesis_template.replace("{}", () => label));
    const { pixel_values } = await this.processor(images);
    const [{ text_embeds }, { image_embeds }] = await Promise.all([
      this.text_model(encode_for(this.text_model, this.tokenizer, texts)),
      this.vision_model({ pixel_values }),
    ]);
    const [said, seen] = [normalize(text_embeds), normalize(image_embeds)];
    const found = Array.from({ length: seen.dims[0] ?? 0 }, (_, image) => {
      const logits = candidates.map((_, text) => this.#scale * dot(seen.at(image), said.at(text)));
      return top_k(softmax(logits), null).map(({ index, score }) => ({ score, label: candidates[index] ?? "" }));
    });
    return Array.isArray(images) ? found : (found[0] ?? []);
  }

  /** Frees both towers' memory; later calls reject with DISPOSED. */
  async dispose(): Promise<void> {
    await Promise.all([this.text_model.dispose(), this.vision_model.dispose()]);
  }
}

function scale_of(tensor: EngineArray | undefined): number {
  const value = tensor?.data[0];
  if (value !== undefined) return value;
  throw new LayerlineError("MISSING_WEIGHT", "The checkpoint has no logit_scale; is it CLIP's?");
}

function dot(a: Tensor<"float32">, b: Tensor<"float32">): number {
  return a.data.reduce((sum, value, i) => sum + value * (b.data[i] ?? Number.NaN), 0);
}
