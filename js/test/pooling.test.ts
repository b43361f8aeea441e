import { describe, expect, test } from "vitest";
import { normalize, type Pooling, pool, quantize_embeddings } from "../src/pooling.js";
import { Tensor } from "../src/tensor.js";

// Two texts of two dimensions; the first is padded on the right, the second on the left.
const states = new Tensor("float32", [1, 8, 3, 2, 0, 0, 0, 0, 5, -5, -7, -1], [2, 3, 2]);
const mask = new Tensor("int64", [1n, 1n, 0n, 0n, 1n, 1n], [2, 3]);

describe("pooling", () => {
  test.each<[Pooling, number[][]]>([
    [
      "cls",
      [
        [1, 8],
        [5, -5],
      ],
    ],
    [
      "lasttoken",
      [
        [3, 2],
        [-7, -1],
      ],
    ],
    [
      "max",
      [
        [3, 8],
        [5, -1],
      ],
    ],
    [
      "mean",
      [
        [2, 5],
        [-1, -3],
      ],
    ],
    [
      "mean_sqrt_len_tokens",
      [
        [4 / Math.SQRT2, 10 / Math.SQRT2],
        [-2 / Math.SQRT2, -6 / Math.SQRT2],
      ],
    ],
    [
      "weightedmean",
      [
        [7 / 3, 4],
        [-3, -7 / 3],
      ],
    ],
  ])("%s takes a text's own tokens", (pooling, expected) => {
    const pooled = pool(states, mask, pooling);
    expect(pooled.dims).toEqual([2, 2]);
    for (const [i, value] of expected.flat().entries()) expect(pooled.data[i]).toBeCloseTo(value, 6);
  });

  test("a mask of another shape is refused", () => {
    expect(() => pool(states, new Tensor("int64", [1n], [1, 1]), "mean")).toThrowError(
      expect.objectContaining({ code: "TENSOR" }),
    );
  });
});

test("normalizing brings each vector to length 1, and leaves zeros alone", () => {
  const { data, dims } = normalize(new Tensor("float32", [3, 4, 0, 0, 0, -2], [1, 3, 2]));
  expect(dims).toEqual([1, 3, 2]);
  for (const [i, value] of [0.6, 0.8, 0, 0, 0, -1].entries()) expect(data[i]).toBeCloseTo(value, 6);
});

test("quantizing keeps signs, the first as the highest bit", () => {
  const signs = [1, -1, 1, -1, -1, -1, -1, 1, 0, 2, 2, 2, 2, 2, 2, 2];
  const vectors = new Tensor("float32", signs, [1, 16]);
  expect(quantize_embeddings(vectors, "ubinary")).toMatchObject({ type: "uint8", dims: [1, 2] });
  expect([...quantize_embeddings(vectors, "ubinary").data]).toEqual([0b10100001, 0b01111111]);
  expect([...quantize_embeddings(vectors, "binary").data]).toEqual([0b10100001 - 128, -1]);
  expect(() => quantize_embeddings(new Tensor("float32", [1, 2], [1, 2]), "binary")).toThrowError(/multiple of 8/);
});
