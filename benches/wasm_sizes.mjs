// What the wasm files weigh. Run by itself (`cargo xtask size`) it prints them.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

/** Bytes of each wasm file and of all: `{name, raw, gzip, brotli}`, at the highest levels of both. */
export function wasmSizes() {
  const sizes = ["engine", "text"].map((name) => {
    const bytes = readFileSync(fileURLToPath(new URL(`../js/wasm/${name}/${name}_bg.wasm`, import.meta.url)));
    return {
      name: `${name}_bg.wasm`,
      raw: bytes.length,
      gzip: gzipSync(bytes, { level: 9 }).length,
      brotli: brotliCompressSync(bytes).length,
    };
  });
  const sum = (key) => sizes.reduce((total, size) => total + size[key], 0);
  return [...sizes, { name: "together", raw: sum("raw"), gzip: sum("gzip"), brotli: sum("brotli") }];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const row = (name, values) => console.log(name.padEnd(16), ...values.map((value) => String(value).padStart(10)));
  row("bytes", ["raw", "gzip -9", "brotli"]);
  for (const { name, raw, gzip, brotli } of wasmSizes()) row(name, [raw, gzip, brotli]);
}
