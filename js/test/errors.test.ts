import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, expectTypeOf, test } from "vitest";
import { as_layerline_error, ERROR_CODES, type ErrorCode, LayerlineError } from "../src/errors.js";

test("an abort is named as fetch names it", () => {
  expect(new LayerlineError("ABORTED", "x").name).toBe("AbortError");
  expect(new LayerlineError("NETWORK", "x").name).toBe("LayerlineError");
});

test("an engine's error becomes one of this class", () => {
  const thrown = Object.assign(new Error("no such repo"), { name: "LayerlineError", code: "REPO_NOT_FOUND" });
  const error = as_layerline_error(thrown);
  expect(error).toBeInstanceOf(LayerlineError);
  expect(error).toMatchObject({ code: "REPO_NOT_FOUND", message: "no such repo" });
  expect(as_layerline_error(error)).toBe(error);
  expect(as_layerline_error(Object.assign(new Error("x"), { code: "NEWER" }))).toMatchObject({
    code: "INTERNAL",
    message: "Error NEWER: x",
  });
});

test("every code of the Rust crate is in the union", () => {
  const root = join(import.meta.dirname, "../../src");
  const sources = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".rs"));
  const codes = new Set<string>();
  for (const path of sources) {
    const rust = readFileSync(join(root, path), "utf8");
    for (const [, body] of rust.matchAll(/fn code\(&self\) -> &'static str \{(.*?)\n {4}\}/gs)) {
      for (const [, code] of body?.matchAll(/"([A-Z][A-Z_]+)"/g) ?? []) if (code) codes.add(code);
    }
  }
  expect(codes.size).toBeGreaterThan(5);
  expect([...codes].filter((code) => !(ERROR_CODES as readonly string[]).includes(code))).toEqual([]);
});

test("code is a union, not a string", () => {
  expectTypeOf<LayerlineError["code"]>().toEqualTypeOf<ErrorCode>();
  expectTypeOf<"GATED_REPO">().toExtend<ErrorCode>();
  expectTypeOf<string>().not.toExtend<ErrorCode>();
});
