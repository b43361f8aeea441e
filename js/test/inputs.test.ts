import { describe, expect, test } from "vitest";
import { LayerlineError } from "../src/errors.js";
import { batch_of, type IdsLike, ids_tensor } from "../src/inputs.js";
import { Tensor } from "../src/tensor.js";

/** Each text's ids without its padding. */
const ids = (input: IdsLike, mask?: IdsLike | null) =>
  batch_of(input, mask).sequences.map((sequence) => Array.from(sequence.ids));

function refusal(input: unknown, mask?: unknown, types?: unknown): LayerlineError {
  try {
    batch_of(input as IdsLike, mask as IdsLike, types as IdsLike);
  } catch (error) {
    if (error instanceof LayerlineError) return error;
  }
  throw new Error("not refused");
}

describe("batch_of", () => {
  test.each<[string, IdsLike]>([
    ["number[]", [5, 6, 7]],
    ["number[][]", [[5, 6, 7]]],
    ["bigint[]", [5n, 6n, 7n]],
    ["bigint[][]", [[5n, 6n, 7n]]],
    ["BigInt64Array", BigInt64Array.of(5n, 6n, 7n)],
    ["Uint32Array", Uint32Array.of(5, 6, 7)],
    ["Uint32Array[]", [Uint32Array.of(5, 6, 7)]],
    ["a tensor [n]", new Tensor("int32", [5, 6, 7], [3])],
    ["a tensor [1, n]", new Tensor("int64", [5n, 6n, 7n], [1, 3])],
  ])("takes %s", (_, input) => {
    expect(ids(input)).toEqual([[5, 6, 7]]);
  });

  test.each<[string, IdsLike]>([
    [
      "number[][]",
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
    ],
    ["Int32Array[]", [Int32Array.of(1, 2), Int32Array.of(3, 4), Int32Array.of(5, 6)]],
    ["a tensor", new Tensor("int64", [1n, 2n, 3n, 4n, 5n, 6n], [3, 2])],
  ])("takes a batch in %s", (_, input) => {
    expect(ids(input)).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
  });

  test("takes padding off at the start, at the end and at both, and remembers where it was", () => {
    const mask = new Tensor("int64", [0n, 0n, 1n, 1n, 1n, 1n, 1n, 0n, 0n, 1n, 1n, 0n], [3, 4]);
    const { length, sequences } = batch_of(
      [
        [0, 0, 5, 6],
        [7, 8, 9, 0],
        [0, 3, 4, 0],
      ],
      mask,
    );
    expect(length).toBe(4);
    expect(sequences.map(({ start, end, ids, given }) => [start, end, [...ids], given.length])).toEqual([
      [2, 4, [5, 6], 4],
      [0, 3, [7, 8, 9], 4],
      [1, 3, [3, 4], 4],
    ]);
    expect(ids([5, 6], [1, 1])).toEqual([[5, 6]]);
    expect(ids([5, 6], null)).toEqual([[5, 6]]);
  });

  test("token types lose the same padding", () => {
    const { sequences } = batch_of([[5, 6, 7, 0]], [[1, 1, 1, 0]], [[0, 1, 1, 0]]);
    expect(sequences[0]?.token_type_ids).toEqual(Uint32Array.of(0, 1, 1));
  });

  test.each([
    ["rows of different lengths", [[1], [2, 3]]],
    ["numbers among rows", [1, [2]]],
    ["three dimensions", new Tensor("int64", [1n], [1, 1, 1])],
    ["a scalar", new Tensor("int64", [1n], [])],
    ["nothing", []],
    ["an empty row", [[]]],
    ["no rows", new Tensor("int64", [], [0, 4])],
    ["a negative id", [1, -1]],
    ["a fraction", [1.5]],
    ["NaN", [Number.NaN]],
    ["an id over 32 bits", [2 ** 32]],
    ["a bigint over 32 bits", [1n << 40n]],
    ["text", "hello"],
    ["strings", ["1"]],
    ["null", null],
  ])("refuses %s", (_, input) => {
    expect(refusal(input).code).toBe("INPUT_IDS");
  });

  test.each([
    ["of another length", [1]],
    [
      "of another shape",
      [
        [1, 1, 1],
        [1, 1, 1],
      ],
    ],
    ["with a hole", [1, 0, 1]],
    ["of zeros", [0, 0, 0]],
    ["of other numbers", [0, 2, 1]],
  ])("refuses a mask %s", (_, mask) => {
    expect(refusal([1, 2, 3], mask).code).toBe("INPUT_IDS");
  });

  test("says what is wrong, and where", () => {
    expect(refusal([7, -3]).message).toContain("input_ids[1] is -3");
    expect(
      refusal([
        [7, 3],
        [1, -3],
      ]).message,
    ).toContain("input_ids[1][1] is -3");
    expect(
      refusal(
        [
          [1, 2],
          [3, 4],
        ],
        [
          [1, 1],
          [0, 0],
        ],
      ).message,
    ).toContain("attention_mask[1] must be");
    expect(refusal([[1, 2]], null, [[0]]).message).toBe(
      "token_type_ids has the shape [1, 1], and input_ids has [1, 2].",
    );
  });
});

test("ids_tensor has transformers' shape, and fills rows up", () => {
  const t = ids_tensor([[1, 2], [3]], 9);
  expect([t.type, t.dims, t.tolist()]).toEqual([
    "int64",
    [2, 2],
    [
      [1n, 2n],
      [3n, 9n],
    ],
  ]);
  expect(ids_tensor([]).dims).toEqual([0, 0]);
});
