import { expect, test } from "vitest";
import { Callable } from "../src/callable.js";

// biome-ignore lint/correctness/noUnusedVariables: it is one with the class
interface Adder {
  // biome-ignore lint/style/useShorthandFunctionType: a type can't be merged with a class
  (n: number): number;
}
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
class Adder extends Callable {
  readonly #base: number;

  constructor(base: number) {
    super();
    this.#base = base;
  }

  get base(): number {
    return this.#base;
  }

  override _call(n: number): number {
    return this.#base + n;
  }
}

test("an instance can be called, and has its class, fields and private fields", () => {
  const add = new Adder(2);
  expect(add(3)).toBe(5);
  expect(add.base).toBe(2);
  expect(add).toBeInstanceOf(Adder);
  expect(new Adder(10)(1)).toBe(11);
});
