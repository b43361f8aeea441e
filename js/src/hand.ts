/** The entry of a worker that computes beside the engine's; see `hands.ts`. */

import type { HandStart } from "./hands.js";
import { engine_of } from "./wasm.js";

// The DOM's types are those of a page.
const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<HandStart>) => unknown;
  postMessage(message: "listens"): void;
};

scope.onmessage = async ({ data: { module, memory } }) => {
  const { serve_hand } = await engine_of(module);
  scope.postMessage("listens");
  serve_hand(memory);
};
