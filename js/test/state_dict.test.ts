import { describe, expect, test } from "vitest";
import { check_state_dict, type StateDict } from "../src/state_dict.js";
import { Tensor } from "../src/tensor.js";

describe("state dicts", () => {
  test("the bytes are the caller's own", () => {
    const weights = new Float32Array([9, 1, 2]).subarray(1);
    const half = new Uint16Array([0x3f80, 0x4000]);
    const [a, b] = check_state_dict({
      "a.weight": new Tensor("float32", weights, [1, 2]),
      "b.weight": { dtype: "bfloat16", dims: [2], data: half },
    });
    expect(a).toMatchObject({ name: "a.weight", dtype: "F32", shape: [1, 2] });
    expect(a?.data.buffer).toBe(weights.buffer);
    expect([a?.data.byteOffset, a?.data.byteLength]).toEqual([4, 8]);
    expect(b).toMatchObject({ name: "b.weight", dtype: "BF16", shape: [2] });
  });

  test("a Map is one too, and a scalar has no dims", () => {
    const [only] = check_state_dict(new Map([["n", { dtype: "int64", dims: [], data: new BigInt64Array(1) }]]));
    expect(only).toMatchObject({ name: "n", dtype: "I64", shape: [] });
  });

  test.each([
    [{}, "an object or a Map"],
    [null, "an object or a Map"],
    [{ w: 3 }, "w must be a Tensor"],
    [{ w: { dtype: "float8", dims: [1], data: new Uint8Array(1) } }, "float8"],
    [{ w: { dtype: "constructor", dims: [1], data: new Uint8Array(1) } }, "constructor"],
    [{ w: { dtype: "float16", dims: [2, -1], data: new Uint8Array(1) } }, "dims"],
    [{ w: { dtype: "float16", dims: [2], data: [1, 2] } }, "typed array"],
    [{ w: { dtype: "float16", dims: [2], data: new Uint8Array(3) } }, "needs 4 bytes of float16, not 3"],
    [{ w: { dtype: "bool", dims: [2], data: new Uint8Array(3) } }, "needs 2 bytes of bool, not 3"],
  ])("%o is none", (state_dict, why) => {
    expect(() => check_state_dict(state_dict as unknown as StateDict)).toThrowError(
      expect.objectContaining({ code: "TENSOR", message: expect.stringContaining(why) }),
    );
  });
});
