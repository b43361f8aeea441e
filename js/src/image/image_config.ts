import { parse_config } from "../config.js";
import { LayerlineError } from "../errors.js";
import { RESAMPLES, type Resample, resample_of } from "./resample.js";

/** What becomes of an image, step by step; what is undefined isn't done. */
export interface ImageSteps {
  /** To a height and a width, or to a length of the shorter side. */
  resize?: { to: Size | { shortest_edge: number }; resample: Resample };
  crop?: Size;
  rescale?: number;
  /** Of red, green and blue. */
  normalize?: { mean: number[]; std: number[] };
}

export interface Size {
  height: number;
  width: number;
}

/** What transformers' image processors do where their file says nothing. */
interface Defaults {
  resample: Resample;
  mean: readonly number[];
  std: readonly number[];
  size: Record<string, number>;
  crop: boolean;
  /** Whether a size that is one number is that of both sides. */
  square: boolean;
}

const HALVES = [0.5, 0.5, 0.5];
const DEFAULTS: Record<"ViT" | "CLIP", Defaults> = {
  ViT: { resample: 2, mean: HALVES, std: HALVES, size: { height: 224, width: 224 }, crop: false, square: true },
  CLIP: {
    resample: 3,
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
    size: { shortest_edge: 224 },
    crop: true,
    square: false,
  },
};

const TYPE = /^(ViT|CLIP)(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/;

/** Which processor a repo's model has, where no file names one. */
const BY_MODEL: Record<string, keyof typeof DEFAULTS> = { vit: "ViT", clip: "CLIP", clip_vision_model: "CLIP" };

/** The files that say what becomes of an image, in the order in which {@link image_steps} takes them. */
export const IMAGE_FILES = ["processor_config.json", "preprocessor_config.json", "config.json"];

type Json = string | undefined;
type Config = Record<string, unknown>;

/**
 * What a repo's image processor does, by its {@link IMAGE_FILES}; the first of them that describes an image processor counts.
 *
 * @throws {LayerlineError} ENTRY_NOT_FOUND without such a file; CONFIG_INVALID, UNSUPPORTED_CONFIG
 */
export function image_steps(files: readonly Json[]): { config: Config; steps: ImageSteps } {
  const [processor, preprocessor, model] = files.map((json, i) =>
    json === undefined ? undefined : parse_config<Config>(json, IMAGE_FILES[i] ?? ""),
  );
  const nested = processor?.image_processor;
  const [file, config] = is_object(nested)
    ? ["processor_config.json: image_processor", nested]
    : ["preprocessor_config.json", preprocessor];
  if (config === undefined) {
    throw new LayerlineError(
      "ENTRY_NOT_FOUND",
      "The repo has no preprocessor_config.json, and so no image processor; does its model read images?",
    );
  }
  return { config, steps: new Reader(file, config, defaults_of(config, file, model)).steps() };
}

function defaults_of(config: Config, file: string, model: Config | undefined): Defaults {
  const type = config.image_processor_type ?? config.feature_extractor_type;
  const kind = typeof type === "string" ? TYPE.exec(type)?.[1] : BY_MODEL[String(model?.model_type)];
  if (kind === "ViT" || kind === "CLIP") return DEFAULTS[kind];
  throw new LayerlineError(
    "UNSUPPORTED_CONFIG",
    `${file}: image_processor_type is ${JSON.stringify(type)}, which is not supported. Supported: ViTImageProcessor, ` +
      "CLIPImageProcessor.",
  );
}

class Reader {
  readonly #file: string;
  readonly #config: Config;
  readonly #defaults: Defaults;

  constructor(file: string, config: Config, defaults: Defaults) {
    this.#file = file;
    this.#config = config;
    this.#defaults = defaults;
  }

  steps(): ImageSteps {
    const { resample, mean, std, size, crop, square } = this.#defaults;
    for (const key of ["do_pad", "do_thumbnail", "do_reduce_labels"]) {
      if (this.#flag(key, false)) throw this.#wrong("UNSUPPORTED_CONFIG", key, "false");
    }
    const steps: ImageSteps = {};
    if (this.#flag("do_resize", true)) {
      const found = resample_of(this.#config.resample ?? resample);
      if (found === undefined) throw this.#wrong("UNSUPPORTED_CONFIG", "resample", RESAMPLES);
      steps.resize = { to: this.#size("size", size, square), resample: found };
    }
    if (this.#flag("do_center_crop", crop)) {
      const to = this.#size("crop_size", { height: 224, width: 224 }, true);
      if ("shortest_edge" in to) throw this.#wrong("CONFIG_INVALID", "crop_size", "a number, or height and width");
      steps.crop = to;
    }
    if (this.#flag("do_rescale", true)) {
      const factor = this.#config.rescale_factor ?? 1 / 255;
      if (typeof factor !== "number") throw this.#wrong("CONFIG_INVALID", "rescale_factor", "a number");
      steps.rescale = factor;
    }
    if (this.#flag("do_normalize", true)) {
      steps.normalize = { mean: this.#colours("image_mean", mean), std: this.#colours("image_std", std) };
      if (steps.normalize.std.includes(0)) throw this.#wrong("CONFIG_INVALID", "image_std", "of other numbers than 0");
    }
    return steps;
  }

  #flag(key: string, otherwise: boolean): boolean {
    const value = this.#config[key] ?? otherwise;
    if (typeof value !== "boolean") throw this.#wrong("CONFIG_INVALID", key, "a boolean");
    return value;
  }

  #size(key: string, otherwise: Record<string, number>, square: boolean): Size | { shortest_edge: number } {
    const given = this.#config[key] ?? otherwise;
    const one = square ? { height: given, width: given } : { shortest_edge: given };
    const { height, width, shortest_edge, ...others } = is_object(given) ? given : one;
    const is_side = (side: unknown): side is number => Number.isSafeInteger(side) && Number(side) > 0;
    const alone = Object.values(others).every((value) => value == null);
    if (alone && is_side(height) && is_side(width) && shortest_edge == null) return { height, width };
    if (alone && is_side(shortest_edge) && height == null && width == null) return { shortest_edge };
    throw this.#wrong("UNSUPPORTED_CONFIG", key, "a number, height and width, or shortest_edge");
  }

  #colours(key: string, otherwise: readonly number[]): number[] {
    const given = this.#config[key] ?? otherwise;
    const list: unknown[] = Array.isArray(given) ? given : [given, given, given];
    const numbers = list.filter((value) => typeof value === "number");
    if (list.length === 3 && numbers.length === 3) return numbers;
    throw this.#wrong("UNSUPPORTED_CONFIG", key, "a number, or three: of red, green and blue");
  }

  #wrong(code: "CONFIG_INVALID" | "UNSUPPORTED_CONFIG", key: string, expected: string): LayerlineError {
    const found = JSON.stringify(this.#config[key]) ?? "missing";
    return new LayerlineError(code, `${this.#file}: ${key} is ${found}; it must be ${expected}.`);
  }
}

function is_object(value: unknown): value is Config {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
