import { AutoModelForCausalLM, env, Tensor } from "@huggingface/transformers";
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";

// From this page's own origin, not from a CDN.
env.backends.onnx.wasm.wasmPaths = { mjs, wasm };
env.useBrowserCache = false;
env.useWasmCache = false;
env.allowLocalModels = false;

/** Loads a repo's float32 ONNX on WebGPU; resolves to how long that took. */
globalThis.load = async (id, endpoint) => {
  env.remoteHost = `${endpoint}/`;
  const start = performance.now();
  globalThis.model = await AutoModelForCausalLM.from_pretrained(id, { device: "webgpu", dtype: "fp32" });
  return performance.now() - start;
};

/** Continues a prompt greedily; resolves to all ids and the milliseconds of each token after the first. */
globalThis.generate = async (prompt, tokens) => {
  const times = [];
  const streamer = { put: () => times.push(performance.now()), end() {} };
  const row = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
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
  return { gaps, ids: Array.from(output.data, Number) };
};
