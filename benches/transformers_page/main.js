import { AutoModelForCausalLM, env, Tensor } from "@huggingface/transformers";
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import cpu_mjs from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import cpu_wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

env.useBrowserCache = false;
env.useWasmCache = false;
env.allowLocalModels = false;

/** Loads a repo's float32 ONNX on "webgpu" or "wasm"; resolves to how long that took. */
globalThis.load = async (id, endpoint, device) => {
  // From this page's own origin, not from a CDN.
  env.backends.onnx.wasm.wasmPaths = device === "wasm" ? { mjs: cpu_mjs, wasm: cpu_wasm } : { mjs, wasm };
  env.remoteHost = `${endpoint}/`;
  const start = performance.now();
  globalThis.model = await AutoModelForCausalLM.from_pretrained(id, { device, dtype: "fp32" });
  return performance.now() - start;
};

/** Continues a prompt greedily; resolves to all ids, the first token's milliseconds and those of each one after it. */
globalThis.generate = async (prompt, tokens) => {
  const times = [];
  const streamer = { put: () => times.push(performance.now()), end() {} };
  const row = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const start = performance.now();
  const output = await globalThis.model.generate({
    input_ids: row(prompt),
    attention_mask: row(prompt.map(() => 1)),
    max_new_tokens: tokens,
    min_new_tokens: tokens,
    do_sample: false,
    streamer,
  });
  // The streamer gets the prompt first.
  const gaps = times.slice(2).map((time, i) => time - times[i + 1]);
  return { gaps, prefillMs: times[1] - start, ids: Array.from(output.data, Number) };
};
