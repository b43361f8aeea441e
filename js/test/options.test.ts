import { afterEach, describe, expect, expectTypeOf, test } from "vitest";
import { env } from "../src/env.js";
import { LayerlineError } from "../src/errors.js";
import { check_generation_options, type GenerateInputs } from "../src/generation_options.js";
import {
  check_model_options,
  check_new_model_options,
  check_pretrained_options,
  check_sharded_options,
  type PretrainedModelOptions,
} from "../src/options.js";
import { QuantoConfig } from "../src/quantization.js";

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
const { endpoint } = env;

afterEach(() => {
  env.endpoint = endpoint;
  env.use_browser_cache = true;
  env.cache_dir = "layerline";
});

describe("loading", () => {
  test("the default is the Hub, in a worker on a page, and says nothing that the engine should decide", () => {
    expect(load({})).toEqual({
      engine: { endpoint: "https://huggingface.co" },
      config_source: undefined,
      worker: true,
      output_loading_info: false,
      signal: undefined,
      progress_callback: undefined,
    });
    expect(load({}, false).worker).toBe(false);
    env.endpoint = "http://hub.test";
    expect(load({}).engine.endpoint).toBe("http://hub.test");
    expect(load({ endpoint: "http://other.test" }).engine.endpoint).toBe("http://other.test");
    expect(load({ mirror: "http://other.test" }).engine.endpoint).toBe("http://other.test");
  });

  test("what a transformers.js snippet says is understood", () => {
    const said = { dtype: "fp16", device: "webgpu", local_files_only: false };
    expect(load(said).engine).toEqual({ endpoint, dtype: "float16", requires_gpu: true });
    expect(load({ device: "wasm" }).engine).toEqual({ endpoint, device_map: '{"":"cpu"}' });
    expect(load({ device: "auto" }).engine).toEqual({ endpoint });
    expect(load({ torch_dtype: "torch.bfloat16" }).engine.dtype).toBe("bfloat16");
    expect(load({ revision: null, dtype: null, config: null }).engine).toEqual({ endpoint });
    expect(load({ device_map: "auto", prefetch: false }).engine).toEqual({ endpoint, prefetch: false });
  });

  test("devices and their memory are said as transformers says them", () => {
    const said = (options: object) => {
      const { device_map, max_memory } = load(options).engine;
      return [device_map, max_memory].map((json) => json && JSON.parse(json));
    };
    for (const strategy of ["auto", "balanced", "balanced_low_0", "sequential", null, undefined]) {
      expect(said({ device_map: strategy })).toEqual([undefined, undefined]);
    }
    expect(said({ device_map: "cuda:0" })).toEqual([{ "": 0 }, undefined]);
    expect(said({ device_map: "cpu" })).toEqual([{ "": "cpu" }, undefined]);
    expect(said({ device_map: { "": 0, "model.layers.3": "disk" } })).toEqual([
      { "": 0, "model.layers.3": "disk" },
      undefined,
    ]);
    expect(said({ max_memory: { 0: "2GB", cpu: 5e9, disk: "9TB" } })).toEqual([undefined, { 0: "2GB", cpu: 5e9 }]);
    const computed_by = (execution_device: unknown) => load({ execution_device }).engine.execution_device;
    expect([0, "cuda:0", "cpu", null].map(computed_by)).toEqual(["0", "0", "cpu", undefined]);
    for (const wrong of [
      { device_map: "meta" },
      { device_map: { "": 1 } },
      { max_memory: "2GB" },
      { max_memory: { 0: -1 } },
      { max_memory: { 0: null } },
      { max_memory: { tpu: 5 } },
    ]) {
      expect(() => load(wrong)).toThrow(/^The option (device_map|max_memory): /);
    }
  });

  test("what transformers' documentation lists goes to the engine", () => {
    const passed = {
      cache_dir: "models",
      force_download: true,
      revision: "v1",
      subfolder: "sub",
      token: "hf_x",
      variant: "fp16",
      use_safetensors: false,
      from_flax: true,
      ignore_mismatched_sizes: true,
      seed: 7,
    };
    const neutral = { weights_only: true, low_cpu_mem_usage: true, attn_implementation: "sdpa", resume_download: true };
    expect(load({ ...passed, ...neutral, output_loading_info: true })).toMatchObject({
      engine: { endpoint, ...passed },
      output_loading_info: true,
    });
    expect(load({ token: false }).engine).toEqual({ endpoint });
  });

  test("what is offloaded to disk lies in a cache, where else there would be none", () => {
    env.use_browser_cache = false;
    expect(load({ offload_folder: "big" }).engine).toEqual({ endpoint, cache_dir: "big", use_browser_cache: true });
    expect(load({ offload_folder: "big", cache_dir: "big" }).engine).toMatchObject({ cache_dir: "big" });
    expect(load({ offload_folder: "" }).engine).toEqual({ endpoint, use_browser_cache: false });
    expect(() => load({ offload_folder: "big", cache_dir: "small" })).toThrow(/offload_folder/);
    expect(() => load({ offload_folder: 5 })).toThrow(/offload_folder/);
  });

  test("a config is an object or where one is, and its keys can be given on their own", () => {
    const config = { model_type: "llama", vocab_size: 9 };
    expect(load({ config }).engine.config_json).toBe(JSON.stringify(config));
    expect(load({ config: "org/other" }).config_source).toBe("org/other");
    const { engine } = load({ vocab_size: 9, pad_token_id: null, rope_scaling: { rope_type: "linear", factor: 2 } });
    expect(JSON.parse(engine.config_overrides ?? "")).toEqual({
      vocab_size: 9,
      pad_token_id: null,
      rope_scaling: { rope_type: "linear", factor: 2 },
    });
    expect(load({ vocab_size: undefined }).engine).toEqual({ endpoint });
  });

  test("weights are rounded by transformers' config, or by transformers.js' types", () => {
    const int8 = { endpoint, round_to: "int8" };
    for (const options of [
      { quantization_config: new QuantoConfig() },
      { quantization_config: {} },
      { quantization_config: { quant_method: "quanto", weights: "int8", activations: null } },
      { dtype: "q8" },
      { dtype: "int8", quantization_config: { weights: "int8" } },
    ] as const) {
      expect(load(options).engine).toEqual(int8);
    }
    const modules_to_not_convert = ["layers.0"];
    const quantization_config = new QuantoConfig({ weights: "int4", modules_to_not_convert });
    expect(load({ quantization_config, dtype: "float32" }).engine).toEqual({
      endpoint,
      dtype: "float32",
      round_to: "int4",
      modules_to_not_convert: '["layers.0"]',
    });
    // As transformers writes it.
    expect({ ...quantization_config }).toEqual({
      quant_method: "quanto",
      weights: "int4",
      activations: null,
      modules_to_not_convert,
    });
    expect(() => new QuantoConfig({ weights: "int2" as never })).toThrow("int4");
  });

  test.each([
    [{ dtype: "q2" }, "q8, q4"],
    [{ dtype: "q4", quantization_config: { weights: "int8" } }, "one of the two"],
    [{ dtype: "toString" }, "dtype"],
    [{ dtype: { model: "fp16" } }, "dtype"],
    [{ dtype: "fp16", torch_dtype: "float32" }, "one of the two"],
    [{ device: "npu" }, "webgpu"],
    [{ device: "cpu", device_map: "auto" }, "one"],
    [{ device: "wasm", max_memory: { 0: "1GB" } }, "max_memory"],
    [{ execution_device: "disk" }, "compute"],
    [{ execution_device: 1 }, "Devices"],
    [{ quantization_config: "int8" }, "QuantoConfig"],
    [{ quantization_config: { quant_method: "gptq" } }, "says so itself"],
    [{ quantization_config: { weights: "int2" } }, "int4"],
    [{ quantization_config: { activations: "int8" } }, "stay floats"],
    [{ quantization_config: { modules_to_not_convert: "lm_head" } }, "list of modules"],
    [{ load_in_8bit: true }, "QuantoConfig"],
    [{ trust_remote_code: true }, "never run"],
    [{ weights_only: false }, "never loaded"],
    [{ low_cpu_mem_usage: false }, "leave it out"],
    [{ attn_implementation: "flash_attention_2" }, "CUDA"],
    [{ proxies: { http: "x" } }, "browser does"],
    [{ gguf_file: "a.gguf" }, "GGUF"],
    [{ prefetch: 1 }, "boolean"],
    [{ token: 5 }, "string"],
    [{ token: true }, "no stored token"],
    [{ local_files_only: "yes" }, "boolean"],
    [{ cache_dir: true }, "string"],
    [{ use_safetensors: "yes" }, "boolean"],
    [{ variant: 16 }, "string"],
    [{ seed: -1 }, "integer"],
    [{ endpoint: "http://a.test", mirror: "http://b.test" }, "one of the two"],
    [{ local_files_only: true, force_download: true }, "one of the two"],
    [{ signal: {} }, "AbortSignal"],
    [{ progress_callback: true }, "function"],
    [{ prefetsh: true }, "no such option"],
    [{ valueOf: 1 }, "no such option"],
    [{ device: { createBuffer() {} }, worker: true }, "worker: false"],
  ])("%o is refused", (options, why) => {
    const error = refusal(() => load(options));
    expect(error.code).toBe("UNSUPPORTED_OPTION");
    expect(error.message).toContain(why);
    expect(Object.keys(options).some((name) => error.message.includes(name))).toBe(true);
  });

  test("a shared GPUDevice runs on its own thread", () => {
    const device = { createBuffer() {} };
    const checked = load({ device });
    expect(checked.engine.device).toBe(device);
    expect(checked.worker).toBe(false);
  });

  test("the cache's options go to the engine where they ask for something", () => {
    expect(load({ cache_dir: "mine", local_files_only: true }).engine).toEqual({
      endpoint,
      cache_dir: "mine",
      local_files_only: true,
    });
    expect(load({ cache_dir: "", local_files_only: false, force_download: null }).engine).toEqual({ endpoint });
    env.use_browser_cache = false;
    env.cache_dir = "theirs";
    expect(load({ force_download: true }).engine).toEqual({
      endpoint,
      use_browser_cache: false,
      cache_dir: "theirs",
      force_download: true,
    });
  });

  test("a tokenizer has no dtype", () => {
    expect(refusal(() => check_pretrained_options({ dtype: "fp16" } as never)).code).toBe("UNSUPPORTED_OPTION");
    expect(check_pretrained_options({ token: "hf_x", subfolder: "a", local_files_only: true })).toEqual({
      endpoint,
      token: "hf_x",
      subfolder: "a",
      local_files_only: true,
    });
  });

  test("a model made of a config downloads nothing", () => {
    const make = (config: unknown, options = {}) => check_new_model_options(config as never, options, true);
    const config = { model_type: "llama" };
    expect(make(config, { seed: 1, dtype: "float32" }).engine).toEqual({
      config_json: JSON.stringify(config),
      seed: 1,
      dtype: "float32",
    });
    expect(refusal(() => make(config, { revision: "main" })).code).toBe("UNSUPPORTED_OPTION");
    expect(refusal(() => make("org/name")).code).toBe("CONFIG_INVALID");
  });

  test("a sharded checkpoint says where it is and how strict to be", () => {
    expect(check_sharded_options({ strict: false, prefer_safe: true, revision: "v1" })).toEqual({
      endpoint,
      revision: "v1",
    });
    expect(refusal(() => check_sharded_options({ strict: "no" } as never)).message).toContain("boolean");
  });
});

describe("generating", () => {
  const check = (options: object) => check_generation_options({ input_ids: [1], ...options } as GenerateInputs);

  test("passes on what says how to choose, and neutral values not at all", () => {
    expect(
      check({
        max_new_tokens: 8,
        do_sample: false,
        top_k: null,
        eos_token_id: [1, 2],
        num_beam_groups: 1,
        use_cache: true,
      }),
    ).toEqual({ max_new_tokens: 8, do_sample: false, eos_token_id: [1, 2] });
    expect(check({ num_beams: 4, length_penalty: -1, early_stopping: "never" })).toEqual({
      num_beams: 4,
      length_penalty: -1,
      early_stopping: "never",
    });
    expect(check({ generation_config: { top_k: 5, top_p: 0.5 }, top_k: 7 })).toEqual({ top_k: 7, top_p: 0.5 });
    expect(check({ do_sample: true, min_p: 0.1, seed: 7 })).toEqual({ do_sample: true, min_p: 0.1, seed: 7 });
  });

  test.each([
    [{ num_beams: "4" }, "number"],
    [{ early_stopping: "soon" }, "never"],
    [{ bad_words_ids: [1] }, "lists of ids"],
    [{ renormalize_logits: 1 }, "boolean"],
    [{ num_beam_groups: 2 }, "num_beam_groups"],
    [{ logits_processor: [] }, "GPU"],
    [{ return_dict_in_generate: 1 }, "boolean"],
    [{ output_scores: true }, "model.forward"],
    [{ max_tokens: 5 }, "no such option"],
    [{ max_new_tokens: "5" }, "number"],
    [{ temperature: Number.NaN }, "number"],
    [{ do_sample: 1 }, "boolean"],
    [{ eos_token_id: ["a"] }, "eos_token_id"],
    [{ generation_config: { length_penalty: "2" } }, "number"],
  ])("%o is refused", (options, why) => {
    const error = refusal(() => check(options));
    expect(error.code).toBe("UNSUPPORTED_OPTION");
    expect(error.message).toContain(why);
  });

  test("unknown options don't compile", () => {
    expectTypeOf<{ input_ids: number[]; num_beam_groups: number }>().not.toEqualTypeOf<GenerateInputs>();
    // @ts-expect-error: there is no such option
    const inputs: GenerateInputs = { input_ids: [1], num_beam_groups: 4 };
    expect(refusal(() => check_generation_options(inputs)).code).toBe("UNSUPPORTED_OPTION");
  });
});
