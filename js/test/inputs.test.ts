import { describe, expect, test } from "vitest";
import { LayerlineError } from "../src/errors.js";
import { type IdsLike, ids_tensor, normalise_prompt } from "../src/inputs.js";
import { Tensor } from "../src/tensor.js";

const ids = (input: IdsLike, mask?: IdsLike | null) => Array.from(normalise_prompt(input, mask).ids);

function refusal(input: unknown, mask?: unknown): LayerlineError {
  try {
    normalise_prompt(input as IdsLike, mask as IdsLike);
  } catch (error) {
    if (error instanceof LayerlineError) return error;
  }
  throw new Error("not refused");
}

describe("normalise_prompt", () => {
  test.each<[string, IdsLike]>([
    ["number[]", [5, 6, 7]],
    ["number[][]", [[5, 6, 7]]],
    ["bigint[]", [5n, 6n, 7n]],
    ["bigint[][]", [[5n, 6n, 7n]]],
    ["BigInt64Array", BigInt64Array.of(5n, 6n, 7n)],
    ["Uint32Array", Uint32Array.of(5, 6, 7)],
    ["a tensor [n]", new Tensor("int32", [5, 6, 7], [3])],
    ["a tensor [1, n]", new Tensor("int64", [5n, 6n, 7n], [1, 3])],
  ])("takes %s", (_, input) => {
    expect(ids(input)).toEqual([5, 6, 7]);
  });

  test("trims left padding and remembers it", () => {
    const prompt = normalise_prompt([[0, 0, 5, 6]], new Tensor("int64", [0n, 0n, 1n, 1n], [1, 4]));
    expect(Array.from(prompt.ids)).toEqual([5, 6]);
    expect(prompt.padding).toBe(2);
    expect(Array.from(prompt.given)).toEqual([0, 0, 5, 6]);
    expect(ids([5, 6], [1, 1])).toEqual([5, 6]);
    expect(ids([5, 6], null)).toEqual([5, 6]);
  });

  test.each([
    ["several sequences", [[1], [2]]],
    ["a batch in a tensor", new Tensor("int64", [1n, 2n], [2, 1])],
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
    ["with a hole", [1, 0, 1]],
    ["padded on the right", [1, 1, 0]],
    ["of zeros", [0, 0, 0]],
    ["of other numbers", [0, 2, 1]],
  ])("refuses a mask %s", (_, mask) => {
    expect(refusal([1, 2, 3], mask).code).toBe("INPUT_IDS");
  });

  test("says which id is wrong", () => {
    expect(refusal([7, -3]).message).toContain("input_ids[1] is -3");
  });
});

test("ids_tensor has transformers' shape", () => {
  const t = ids_tensor([1, 2]);
  expect([t.type, t.dims, t.tolist()]).toEqual(["int64", [1, 2], [[1n, 2n]]]);
});
