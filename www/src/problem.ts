import { type ErrorCode, LayerlineError } from "layerline";
import { create } from "./dom.ts";

/** What a person at this page can do about an error, beyond what its message says. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  REPO_NOT_FOUND: "The field for a token is under Advanced.",
  REVISION_NOT_FOUND: "Leave the revision empty for the main branch.",
  ENTRY_NOT_FOUND:
    "The repo may hold another kind of model. Repos with safetensors, config.json and tokenizer.json work.",
  GATED_REPO: "Accept the repo's terms on the Hub, then give a token of your account (under Advanced).",
  UNAUTHORIZED: "The token was not accepted. Check it, or leave it empty for a public repo.",
  NETWORK: "Check the endpoint (under Advanced) and your connection, then load again.",
  UNSUPPORTED_MODEL_TYPE:
    "Most families that write text work: Llama, Mistral, Qwen, Gemma, Phi, SmolLM, OLMo, GPT-2 and their kin. Try another repo.",
  WEBGPU_UNAVAILABLE: "Under Advanced, let the faster device compute.",
  CONTEXT_LENGTH: "Start a new chat; this one has used up the model's positions.",
  FILE_CHANGED: "Load again to get the new version as a whole.",
  OUT_OF_MEMORY: "Lower the GPU budget, close other tabs that use the GPU, or try a smaller model.",
  DEVICE_LOST: "The GPU was reset several times over. Close what else uses it, and load the model again.",
  DEVICE_MAP: "Choose a larger GPU budget.",
  CHAT_TEMPLATE: "Start a new chat; the model's template doesn't take this order of messages.",
  WORKER_UNAVAILABLE: "Reload the page.",
  WASM_UNAVAILABLE: "Reload the page.",
};

/**
 * Fills a panel with an error, and shows it.
 *
 * @param advice what can be done about it, where more is known than the code says
 */
export function show_problem(panel: HTMLElement, error: unknown, advice?: string): void {
  const code = error instanceof LayerlineError ? error.code : "INTERNAL";
  const message = error instanceof Error ? error.message : String(error);
  const hint = advice ?? HINTS[code];
  const close = create("button", { type: "button", class: "quiet", "aria-label": "Dismiss" }, "×");
  close.addEventListener("click", () => hide_problem(panel));
  panel.dataset.code = code;
  panel.replaceChildren(
    create("div", { class: "row" }, create("code", {}, code), close),
    create("p", {}, sentence(message)),
    ...(hint === undefined ? [] : [create("p", { class: "hint" }, hint)]),
  );
  panel.hidden = false;
}

/** A message as a sentence; one that begins with a name from code keeps it as it is. */
export function sentence(message: string): string {
  return message.replace(/^[a-z]+(?= )/, (word) => word[0]?.toUpperCase() + word.slice(1)).replace(/[^.!?]$/, "$&.");
}

export function hide_problem(panel: HTMLElement): void {
  panel.hidden = true;
  delete panel.dataset.code;
  panel.replaceChildren();
}

/** Why there is no WebGPU here, in words; undefined if there is. */
export async function missing_webgpu(): Promise<string | undefined> {
  if (!window.isSecureContext) return "WebGPU needs a secure page: open this one by https, or from localhost.";
  if (!("gpu" in navigator)) {
    return (
      "This browser has no WebGPU. Chrome and Edge (113 or newer), Safari (26 or newer) and Firefox (141 or newer on " +
      "Windows, 145 on Apple silicon) have it. On Linux it may need chrome://flags/#enable-unsafe-webgpu, or " +
      "dom.webgpu.enabled in Firefox's about:config."
    );
  }
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (adapter) return undefined;
  return (
    "This browser has WebGPU, but no GPU that it would use. Turn on hardware acceleration in its settings and update " +
    "the graphics driver; chrome://gpu, or about:support in Firefox, says what stands in the way."
  );
}
