import { describe, expect, expectTypeOf, test } from "vitest";
import { LayerlineError } from "../src/errors.js";
import { Tensor } from "../src/tensor.js";

const grid = () =>
  new Tensor(
    "float32",
    Float32Array.from({ length: 24 }, (_, i) => i),
    [2, 3, 4],
  );

function code(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    return error instanceof LayerlineError ? error.code : String(error);
  }
}

describe("Tensor", () => {
  test("keeps the typed array it was given, and converts a plain one", () => {
    const data = new Float32Array(6);
    expect(new Tensor("float32", data, [2, 3]).data).toBe(data);
    const ids = new Tensor("int64", [1n, -2n], [1, 2]);
    expect(ids.data).toEqual(BigInt64Array.of(1n, -2n));
    expect(ids.size).toBe(2);
  });

  test("refuses a shape that the data doesn't fill, another array type and an unknown type", () => {
    expect(code(() => new Tensor("float32", [1, 2, 3], [2, 2]))).toBe("TENSOR");
    expect(code(() => new Tensor("float32", [1, 2], [-1, -2]))).toBe("TENSOR");
    expect(code(() => new Tensor("float32", new Float64Array(2) as never, [2]))).toBe("TENSOR");
    expect(code(() => new Tensor("int65" as never, [], [0]))).toBe("TENSOR");
  });

  test("nests tolist as the shape says", () => {
    expect(new Tensor("int32", [1, 2, 3, 4, 5, 6], [3, 2]).tolist()).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(new Tensor("int32", [], [2, 0]).tolist()).toEqual([[], []]);
    expect(new Tensor("int32", [7], []).tolist()).toBe(7);
  });

  test("indexes the first axis, sharing elements", () => {
    const t = grid();
    const row = t[1]?.[2];
    expect(row?.dims).toEqual([4]);
    expect(row?.tolist()).toEqual([20, 21, 22, 23]);
    t.data[20] = -1;
    expect(row?.[0]?.item()).toBe(-1);
    expect(t.at(-1).tolist()).toEqual(t[1]?.tolist());
    expect(code(() => t[2])).toBe("TENSOR");
    expect(code(() => t.item())).toBe("TENSOR");
    expect(t instanceof Tensor).toBe(true);
  });

  test("slices by index, range and whole axis", () => {
    const t = grid();
    expect(t.slice(null, [1, 3], -1).tolist()).toEqual([
      [7, 11],
      [19, 23],
    ]);
    expect(t.slice([-1, 9]).dims).toEqual([1, 3, 4]);
    expect(t.slice([2, 1]).dims).toEqual([0, 3, 4]);
    expect(t.slice(0, 0, 0).item()).toBe(0);
    expect(code(() => t.slice(2))).toBe("TENSOR");
    expect(code(() => t.slice(0, 0, 0, 0))).toBe("TENSOR");
    expect(code(() => t.slice([0.5, 1]))).toBe("TENSOR");
    const copy = t.slice();
    copy.data[0] = 99;
    expect(t.data[0]).toBe(0);
  });

  test("iterates elements of a 1-D tensor and sub-tensors of others", () => {
    expect([...new Tensor("int64", [1n, 2n], [2])]).toEqual([1n, 2n]);
    expect([...grid()].map((t) => (t as Tensor).dims)).toEqual([
      [3, 4],
      [3, 4],
    ]);
    expect(code(() => [...new Tensor("int32", [1], [])])).toBe("TENSOR");
  });

  test("types follow the data type", () => {
    const ids = new Tensor("int64", [1n], [1, 1]);
    expectTypeOf(ids).toEqualTypeOf<Tensor<"int64">>();
    expectTypeOf(ids.data).toEqualTypeOf<BigInt64Array>();
    expectTypeOf(ids.item()).toEqualTypeOf<bigint>();
    expectTypeOf(grid().item).returns.toEqualTypeOf<number>();
    // @ts-expect-error: int64 is of bigints
    expect(() => new Tensor("int64", [1], [1])).toThrow(TypeError);
  });
});
