import type { EngineImage, EngineOutput } from "../engine.js";
import { LayerlineError } from "../errors.js";
import type { GridLike } from "../grid.js";
import { type Batch, whole_batch } from "../inputs.js";
import { type MoreOutputs, more_outputs } from "../model_inputs.js";
import { check_keys } from "../options.js";
import { Tensor } from "../tensor.js";

/** The arguments of a forward pass of a model that reads images. */
export interface ImageInputs {
  /** Images as their processor gives them: float32, `[batch, channels, height, width]`. */
  pixel_values: Tensor<"float32">;
  /** Also give `hidden_states`. Default false. */
  output_hidden_states?: boolean | null;
  /** Also give `attentions`. Default false. */
  output_attentions?: boolean | null;
  /** Also give `loss`: a class an image, or numbers where the config's `problem_type` is another. */
  labels?: GridLike | null;
  signal?: AbortSignal | null;
}

const KEYS = [
  "pixel_values",
  "output_hidden_states",
  "output_attentions",
  "labels",
  "signal",
] as const satisfies readonly (keyof ImageInputs)[];

const NEUTRAL = { return_dict: [true], interpolate_pos_encoding: [false] };

const REFUSED = {
  input_ids: "This model reads images; give pixel_values.",
  bool_masked_pos: "Every patch is read; leave it out.",
  interpolate_pos_encoding: "Images must have the size of the config's image_size, as its processor makes them.",
  return_dict: "Outputs are objects; leave it out.",
};

/** They, checked. */
export interface CheckedImages {
  images: EngineImage[];
  more: MoreOutputs;
  signal: AbortSignal | undefined;
}

/** @throws {LayerlineError} PIXEL_VALUES where they are no batch of images */
export function check_image_inputs(inputs: ImageInputs): CheckedImages {
  check_keys(inputs, KEYS, NEUTRAL, REFUSED);
  const { pixel_values } = inputs;
  const is_batch =
    pixel_values instanceof Tensor &&
    pixel_values.type === "float32" &&
    pixel_values.dims.length === 4 &&
    pixel_values.size > 0;
  if (!is_batch) {
    throw new LayerlineError(
      "PIXEL_VALUES",
      "pixel_values must be a float32 tensor of shape [batch, channels, height, width], as an image processor gives it.",
    );
  }
  const [count = 0, ...dims] = pixel_values.dims;
  const images = Array.from({ length: count }, (_, i) => ({ dims, data: pixel_values.at(i).data }));
  return { images, more: more_outputs(inputs), signal: inputs.signal ?? undefined };
}

/** As many images as a batch of texts, each of which is as many tokens as the model made of an image. */
export function image_batch(count: number, outputs: readonly EngineOutput[] = []): Batch {
  const [first = {}] = outputs;
  const rows = first.last_hidden_state ?? first["hidden_states.0"];
  return whole_batch(count, rows?.dims[0] ?? 0);
}
