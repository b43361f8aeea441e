/** The CPU's loops with fused multiply-adds, in browsers that have WebAssembly's relaxed-simd. */

import { RELAXED } from "../wasm/relaxed/relaxed.js";

/** What `relaxed/` exports, working in that memory; undefined where the browser doesn't know its instructions. */
export async function fused_loops(memory: WebAssembly.Memory): Promise<WebAssembly.Exports | undefined> {
  const bytes = Uint8Array.from(RELAXED.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
  if (!WebAssembly.validate(bytes)) return undefined;
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
  return instance.exports;
}
