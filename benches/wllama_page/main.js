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

/** Continues a text greedily; resolves to the tokens of the prompt, its milliseconds, and a token's after it, by llama.cpp's own clock. */
globalThis.generate = async (prompt, tokens) => {
  const { timings } = await globalThis.model.createCompletion({
    prompt,
    max_tokens: tokens,
    temperature: 0,
    ignore_eos: true,
    cache_prompt: false,
  });
  const { prompt_n, prompt_ms, predicted_n, predicted_ms } = timings;
  if (predicted_n !== tokens) throw new Error(`${predicted_n} tokens came`);
  return { promptTokens: prompt_n, prefillMs: prompt_ms, tokenMs: predicted_ms / predicted_n };
};
