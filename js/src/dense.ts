import { LayerlineError } from "./errors.js";
import { Tensor } from "./tensor.js";

type Floats = Tensor<"float32">;

/** What follows a linear layer, by the class that torch has for it. */
const ACTIVATIONS = {
  Identity: (x: number) => x,
  Tanh: Math.tanh,
  ReLU: (x: number) => Math.max(x, 0),
  Sigmoid: (x: number) => 1 / (1 + Math.exp(-x)),
  SiLU: (x: number) => x / (1 + Math.exp(-x)),
} as const;

export type DenseActivation = keyof typeof ACTIVATIONS;

export const DENSE_ACTIVATIONS = Object.keys(ACTIVATIONS) as DenseActivation[];

/** sentence-transformers' module of that name: a linear layer and an activation. */
export interface Dense {
  /** `[outputs, inputs]` */
  weight: Floats;
  /** `[outputs]` */
  bias: Floats | undefined;
  activation: DenseActivation;
}

/**
 * What the module makes of vectors: `[texts, outputs]`.
 *
 * @param vectors `[texts, inputs]`
 */
export function dense(vectors: Floats, { weight, bias, activation }: Dense): Floats {
  const [texts = 0, width = 0] = vectors.dims;
  const [outputs = 0, inputs = 0] = weight.dims;
  if (width !== inputs) {
    throw new LayerlineError("TENSOR", `A Dense module of ${inputs} inputs can't read vectors of ${width}.`);
  }
  const activate = ACTIVATIONS[activation];
  const out = new Float32Array(texts * outputs);
  // One row of the weight for all texts: it is larger than they are.
  for (let output = 0; output < outputs; output++) {
    const row = weight.data.subarray(output * inputs, (output + 1) * inputs);
    for (let text = 0; text < texts; text++) {
      let sum = bias?.data[output] ?? 0;
      for (let i = 0; i < inputs; i++) sum += (row[i] as number) * (vectors.data[text * inputs + i] as number);
      out[text * outputs + output] = activate(sum);
    }
  }
  return new Tensor("float32", out, [texts, outputs]);
}
