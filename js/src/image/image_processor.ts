import { Callable } from "../callable.js";
import { LayerlineError } from "../errors.js";
import type { PretrainedOptions } from "../options.js";
import { read_files } from "../repo_files.js";
import type { ModelSource } from "../source.js";
import { Tensor } from "../tensor.js";
import { IMAGE_FILES, type ImageSteps, image_steps } from "./image_config.js";
import { type ImageInput, RawImage } from "./raw_image.js";

/** What an image processor gives a model. */
export interface ImageFeatures {
  /** `[images, 3, height, width]` */
  pixel_values: Tensor<"float32">;
  /** Of each image as it came: height and width, in pixels. */
  original_sizes: [height: number, width: number][];
  /** Of each image as the model gets it. */
  reshaped_input_sizes: [height: number, width: number][];
}

// The call signature of ImageProcessor; see Callable.
export interface ImageProcessor {
  // biome-ignore lint/style/useShorthandFunctionType: a type can't be merged with a class
  (images: ImageInput | readonly ImageInput[]): Promise<ImageFeatures>;
}

/** A repo's image processor: from images to what a model reads, as transformers does it with PIL. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class ImageProcessor extends Callable {
  /** preprocessor_config.json, or the part of processor_config.json that is about images. */
  readonly config: Record<string, unknown>;
  readonly #steps: ImageSteps;

  /** @internal */
  constructor({ config, steps }: { config: Record<string, unknown>; steps: ImageSteps }) {
    super();
    this.config = config;
    this.#steps = steps;
  }

  /** @internal */
  override async _call(images: ImageInput | readonly ImageInput[]): Promise<ImageFeatures> {
    const given = (Array.isArray(images) ? images : [images]) as readonly ImageInput[];
    if (given.length === 0) throw new LayerlineError("IMAGE", "There are no images.");
    const raw = await Promise.all(given.map((image) => RawImage.read(image)));
    const ready = raw.map((image) => shaped(image.rgb(), this.#steps));
    const [first] = ready as [RawImage, ...RawImage[]];
    const other = ready.find(({ width, height }) => width !== first.width || height !== first.height);
    if (other !== undefined) {
      const sizes = [first, other].map(({ width, height }) => `${width} × ${height}`).join(" and ");
      throw new LayerlineError("IMAGE", `Images of ${sizes} pixels can't be one batch; give them one by one.`);
    }
    const colours = colours_of(this.#steps);
    const size = 3 * first.width * first.height;
    const data = new Float32Array(ready.length * size);
    for (const [i, image] of ready.entries()) planes(image, colours, data.subarray(i * size, (i + 1) * size));
    return {
      pixel_values: new Tensor("float32", data, [ready.length, 3, first.height, first.width]),
      original_sizes: raw.map(({ width, height }) => [height, width]),
      reshaped_input_sizes: ready.map(({ width, height }) => [height, width]),
    };
  }
}

/** The image in the size that the model reads. */
function shaped(image: RawImage, { resize, crop }: ImageSteps): RawImage {
  let at = image;
  if (resize !== undefined) {
    const { to, resample } = resize;
    const [width, height] = "shortest_edge" in to ? by_shortest_edge(at, to.shortest_edge) : [to.width, to.height];
    at = at.resize(width, height, { resample });
  }
  return crop === undefined ? at : at.center_crop(crop.width, crop.height);
}

/** Width and height of an image whose shorter side becomes `edge`. */
function by_shortest_edge({ width, height }: RawImage, edge: number): [width: number, height: number] {
  // Rounded down, in this order, as in transformers.
  const long = Math.trunc((edge * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? [edge, long] : [long, edge];
}

/** Of each colour, the number that each byte becomes; every step is rounded to float32 as in numpy. */
function colours_of({ rescale, normalize }: ImageSteps): Float32Array[] {
  return Array.from({ length: 3 }, (_, colour) =>
    Float32Array.from({ length: 256 }, (_, byte) => {
      const value = rescale === undefined ? byte : Math.fround(byte * rescale);
      if (normalize === undefined) return value;
      const [mean, std] = [normalize.mean, normalize.std].map((of) => Math.fround(of[colour] as number));
      return Math.fround(value - (mean as number)) / (std as number);
    }),
  );
}

/** An image's colours, one after the other. */
function planes({ data }: RawImage, colours: readonly Float32Array[], to: Float32Array): void {
  const pixels = data.length / 3;
  for (const [colour, values] of colours.entries()) {
    for (let i = 0; i < pixels; i++) to[colour * pixels + i] = values[data[i * 3 + colour] as number] as number;
  }
}

/** Image processors of repos. */
export const AutoImageProcessor = {
  /**
   * A repo's image processor, by its preprocessor_config.json: kilobytes.
   *
   * @throws {LayerlineError} ENTRY_NOT_FOUND where the repo has none; UNSUPPORTED_CONFIG for one that isn't known
   */
  async from_pretrained(source: ModelSource, options: PretrainedOptions = {}): Promise<ImageProcessor> {
    return new ImageProcessor(image_steps(await read_files(source, IMAGE_FILES, options)));
  },
};
