/** The entry of a worker that computes beside the engine's; see `hands.ts`. */

import type { HandAnswer, HandStart } from "./hands.js";
import { engine_of } from "./wasm.js";

// The DOM's types are those of a page.
const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<HandStart>) => unknown;
  postMessage(message: HandAnswer): void;
};

scope.onmessage = async ({ data: { module, memory } }) => {
  try {
    const { serve_hand } = await engine_of(module);
    scope.postMessage("listens");
    // Until the worker is ended.
    serve_hand(memory);
  } catch {
    // There is no memory for another instance, say.
    scope.postMessage("fails");
  }
};
