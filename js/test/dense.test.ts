import { describe, expect, test } from "vitest";
import { DENSE_ACTIVATIONS, dense } from "../src/dense.js";
import { Tensor } from "../src/tensor.js";

const floats = (rows: number[][]) =>
  new Tensor("float32", new Float32Array(rows.flat()), [rows.length, rows[0]?.length ?? 0]);
const weight = floats([
  [1, 2, 3],
  [-1, 0.5, 0],
]);
const vectors = floats([
  [1, 0, -1],
  [2, 4, 8],
]);

describe("dense", () => {
  test("is a linear layer, with and without a bias", () => {
    const plain = dense(vectors, { weight, bias: undefined, activation: "Identity" });
    expect(plain.tolist()).toEqual([
      [-2, -1],
      [34, 0],
    ]);
    const bias = new Tensor("float32", new Float32Array([0.5, -4]), [2]);
    expect(dense(vectors, { weight, bias, activation: "ReLU" }).tolist()).toEqual([
      [0, 0],
      [34.5, 0],
    ]);
  });

  // As torch gives them for 0.5.
  const expected = { Identity: 0.5, Tanh: 0.46211717, ReLU: 0.5, Sigmoid: 0.62245935, SiLU: 0.31122968 };
  test.each(DENSE_ACTIVATIONS)("%s", (activation) => {
    const found = dense(floats([[0.5]]), { weight: floats([[1]]), bias: undefined, activation });
    expect(found.data[0]).toBeCloseTo(expected[activation], 6);
  });

  test("refuses vectors of another width", () => {
    expect(() => dense(floats([[1, 2]]), { weight, bias: undefined, activation: "Tanh" })).toThrowError(
      expect.objectContaining({ code: "TENSOR" }),
    );
  });
});
