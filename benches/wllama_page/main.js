import { LoggerWithoutDebug, Wllama } from "@wllama/wllama";
import wasm from "@wllama/wllama/esm/wasm/wllama.wasm?url";

/** Loads a GGUF onto the CPU; resolves to how long that took. */
globalThis.load = async (url, positions) => {
  const start = performance.now();
  globalThis.model = new Wllama({ default: wasm }, { suppressNativeLog: true, logger: LoggerWithoutDebug });
  await globalThis.model.loadModelFromUrl(url, {
    useCache: false,
    n_gpu_layers: 0,
    n_threads: 1,
    n_ctx: positions,
    n_parallel: 1,
  });
  if (globalThis.model.isMultithread()) throw new Error("wllama takes several threads");
  return performance.now() - start;
};

/** Continues a prompt greedily; resolves to the prompt's milliseconds, a token's after it, by llama.cpp's own clock, and the text. */
globalThis.generate = async (prompt, tokens) => {
  const { timings, choices } = await globalThis.model.createCompletion({
    prompt,
    max_tokens: tokens,
    temperature: 0,
    ignore_eos: true,
    cache_prompt: false,
  });
  const { prompt_n, prompt_ms, predicted_n, predicted_ms } = timings;
  if (prompt_n !== prompt.length || predicted_n !== tokens)
    throw new Error(`${prompt_n} and ${predicted_n} tokens ran`);
  return { prefillMs: prompt_ms, tokenMs: predicted_ms / predicted_n, text: choices[0].text };
};
