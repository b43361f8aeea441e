import { afterEach, describe, expect, expectTypeOf, test } from "vitest";
import { env } from "../src/env.js";
import { LayerlineError } from "../src/errors.js";
import { check_generation_options, type GenerateInputs } from "../src/generation_options.js";
import {
  check_id,
  check_model_options,
  check_pretrained_options,
  type PretrainedModelOptions,
} from "../src/options.js";

function refusal(run: () => unknown): LayerlineError {
  try {
    run();
  } catch (error) {
    if (error instanceof LayerlineError) return error;
    throw error;
  }
  throw new Error("not refused");
}

const load = (options: object, worker = true) => check_model_options(options as PretrainedModelOptions, worker);

afterEach(() => {
  env.endpoint = "https://huggingface.co";
  env.use_browser_cache = true;
  env.cache_dir = "layerline";
});

describe("loading", () => {
  test("the default is the Hub, in a worker on a page, and says nothing that the engine should decide", () => {
    expect(load({})).toEqual({
      hub: { endpoint: "https://huggingface.co" },
      engine: {},
      worker: true,
      signal: undefined,
      progress_callback: undefined,
    });
    expect(load({}, false).worker).toBe(false);
    env.endpoint = "http://hub.test";
    expect(load({}).hub.endpoint).toBe("http://hub.test");
    expect(load({ endpoint: "http://other.test" }).hub.endpoint).toBe("http://other.test");
  });

  test("what a transformers.js snippet says is understood", () => {
    expect(load({ dtype: "fp16", device: "webgpu", local_files_only: false }).engine).toEqual({ dtype: "float16" });
    expect(load({ torch_dtype: "bfloat16" }).engine.dtype).toBe("bfloat16");
    expect(load({ revision: null, dtype: null, config: null }).engine).toEqual({});
    expect(load({ device_map: { "": 0 }, prefetch: false }).engine).toEqual({ device_map: { "": 0 }, prefetch: false });
  });

  test.each([
    [{ dtype: "q4" }, "Quantising"],
    [{ dtype: "toString" }, "dtype"],
    [{ dtype: { model: "fp16" } }, "dtype"],
    [{ dtype: "fp16", torch_dtype: "float32" }, "one of the two"],
    [{ device: "wasm" }, "WebGPU"],
    [{ quantization_config: {} }, "Quantising"],
    [{ trust_remote_code: true }, "never run"],
    [{ low_cpu_mem_usage: false }, "leave it out"],
    [{ prefetch: 1 }, "boolean"],
    [{ token: 5 }, "string"],
    [{ signal: {} }, "AbortSignal"],
    [{ progress_callback: true }, "function"],
    [{ local_files_only: "yes" }, "boolean"],
    [{ cache_dir: true }, "string"],
    [{ prefetsh: true }, "no such option"],
    [{ valueOf: 1 }, "no such option"],
    [{ device: { createBuffer() {} }, worker: true }, "worker: false"],
  ])("%o is refused", (options, why) => {
    const error = refusal(() => load(options));
    expect(error.code).toBe("UNSUPPORTED_OPTION");
    expect(error.message).toContain(why);
    expect(error.message).toContain(Object.keys(options).at(-1));
  });

  test("a shared GPUDevice runs on its own thread", () => {
    const device = { createBuffer() {} };
    const checked = load({ device });
    expect(checked.engine.device).toBe(device);
    expect(checked.worker).toBe(false);
  });

  test("the cache's options go to the engine where they ask for something", () => {
    expect(load({ cache_dir: "mine", local_files_only: true }).hub).toEqual({
      endpoint: env.endpoint,
      cache_dir: "mine",
      local_files_only: true,
    });
    expect(load({ cache_dir: "", local_files_only: false, force_download: false }).hub).toEqual({
      endpoint: env.endpoint,
    });
    env.use_browser_cache = false;
    env.cache_dir = "theirs";
    expect(load({ force_download: true }).hub).toEqual({
      endpoint: env.endpoint,
      use_browser_cache: false,
      cache_dir: "theirs",
      force_download: true,
    });
  });

  test("a tokenizer has no dtype", () => {
    expect(refusal(() => check_pretrained_options({ dtype: "fp16" } as never)).code).toBe("UNSUPPORTED_OPTION");
    expect(check_pretrained_options({ token: "hf_x", subfolder: "a" })).toEqual({
      endpoint: env.endpoint,
      token: "hf_x",
      subfolder: "a",
    });
  });

  test.each([[""], [" "], [undefined], [7]])("%o is no repo id", (id) => {
    expect(refusal(() => check_id(id)).code).toBe("INVALID_REPO_ID");
  });
});

describe("generating", () => {
  const check = (options: object) => check_generation_options({ input_ids: [1], ...options } as GenerateInputs);

  test("passes on what says how to choose, and neutral values not at all", () => {
    expect(
      check({ max_new_tokens: 8, do_sample: false, top_k: null, eos_token_id: [1, 2], num_beams: 1, use_cache: true }),
    ).toEqual({ max_new_tokens: 8, do_sample: false, eos_token_id: [1, 2] });
    expect(check({ generation_config: { top_k: 5, top_p: 0.5 }, top_k: 7 })).toEqual({ top_k: 7, top_p: 0.5 });
    expect(check({ do_sample: true, min_p: 0.1, seed: 7 })).toEqual({ do_sample: true, min_p: 0.1, seed: 7 });
  });

  test.each([
    [{ num_beams: 4 }, "Beam search"],
    [{ logits_processor: [] }, "GPU"],
    [{ past_key_values: {} }, "whole prompt"],
    [{ max_tokens: 5 }, "no such option"],
    [{ max_new_tokens: "5" }, "number"],
    [{ temperature: Number.NaN }, "number"],
    [{ do_sample: 1 }, "boolean"],
    [{ eos_token_id: ["a"] }, "eos_token_id"],
    [{ generation_config: { num_beams: 2 } }, "Beam search"],
  ])("%o is refused", (options, why) => {
    const error = refusal(() => check(options));
    expect(error.code).toBe("UNSUPPORTED_OPTION");
    expect(error.message).toContain(why);
  });

  test("unknown options don't compile", () => {
    expectTypeOf<{ input_ids: number[]; num_beams: number }>().not.toEqualTypeOf<GenerateInputs>();
    // @ts-expect-error: there is no such option
    const inputs: GenerateInputs = { input_ids: [1], num_beams: 4 };
    expect(refusal(() => check_generation_options(inputs)).code).toBe("UNSUPPORTED_OPTION");
  });
});
