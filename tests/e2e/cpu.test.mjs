// A page without WebGPU: the same options, the same calls, the same tokens as torch, on the CPU alone.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertClose, newIds } from "./support/close.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { golden, SAMPLE, startTestHub } from "./support/models.mjs";

const { prompts } = golden("smollm2.json");
const named = (...names) => prompts.filter((prompt) => names.includes(prompt.name));

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

async function open({ AutoModelForCausalLM }, { id, endpoint, options }, state) {
  const warnings = [];
  const { warn } = console;
  console.warn = (text) => warnings.push(text);
  try {
    state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, ...options });
  } finally {
    console.warn = warn;
  }
  await state.model.ready();
  return { map: state.model.hf_device_map, stats: await state.model.stats(), warnings };
}

async function generate(_, { input_ids, max_new_tokens, ids }, { model }) {
  const stamps = [];
  const streamer = { put: () => stamps.push(performance.now()), end() {} };
  const start = performance.now();
  const output = await model.generate({ input_ids, max_new_tokens, do_sample: false, streamer });
  const { logits } = await model.forward({ input_ids, logits_to_keep: 1 });
  return {
    new_ids: Array.from(output.data, Number).slice(input_ids.length),
    logits: ids.map((id) => logits.data[id]),
    // The streamer gets the prompt first.
    prefillMs: stamps[1] - start,
    tokenMs: (stamps.at(-1) - stamps[1]) / (stamps.length - 2),
  };
}

for (const [name, options, load, texts] of [
  ["chromium", { webgpu: false }, {}, named("counting", "unicode", "chat", "list_long")],
  ["firefox", {}, { device: "cpu" }, named("counting", "chat")],
]) {
  describe(`${name}${options.webgpu === false ? " without WebGPU" : ""}`, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(name, options);
    });
    after(() => environment.close());

    test("the model is in CPU memory", async () => {
      const arg = { id: SAMPLE, endpoint: hub.endpoint, options: load };
      const { map, stats, warnings } = await environment.run(open, arg);
      assert.deepEqual(map, { "": "cpu" });
      assert.equal(stats.adapter, null);
      assert.equal(stats.gpu_bytes, 0);
      // Chromium has relaxed-simd; the other browser's loops are those without.
      if (name === "chromium") assert.ok(stats.cpu_fused);
      assert.equal(stats.resident_bytes, stats.weight_bytes);
      // One copy, in the type that it came in; rows are padded.
      assert.ok(stats.held_bytes >= stats.weight_bytes && stats.held_bytes < 1.01 * stats.weight_bytes);
      assert.ok(
        stats.wasm_memory_bytes < stats.held_bytes + 32e6,
        `${stats.wasm_memory_bytes} for ${stats.held_bytes}`,
      );
      assert.equal(warnings.length, load.device ? 0 : 1);
      if (!load.device) assert.match(warnings[0], /runs on the CPU alone. WebGPU is not available here/);
    });

    for (const prompt of texts) {
      test(`${prompt.name}: ${prompt.input_ids.length} ids`, async (t) => {
        const { input_ids, new_ids, logits, f16_error } = prompt;
        const ids = [...logits.top_ids, ...logits.other_ids];
        const found = await environment.run(generate, { input_ids, max_new_tokens: new_ids.length, ids });
        assert.deepEqual(found.new_ids, newIds(prompt));
        t.diagnostic(assertClose(found.logits, [...logits.top, ...logits.other], f16_error.prompt.max_abs));
        const rate = (ms) => `${(1000 / ms).toFixed(1)} tokens/s`;
        t.diagnostic(`prefill ${rate(found.prefillMs / input_ids.length)}, decode ${rate(found.tokenMs)}`);
      });
    }

    test("an abort is heard within a second, in a prompt and in a text, and the model goes on", async () => {
      const { input_ids, new_ids } = prompts.find((prompt) => prompt.name === "counting");
      const long = prompts.find((prompt) => prompt.input_ids.length > 512).input_ids;
      const abort = async (_, { input_ids, after }, { model }) => {
        const controller = new AbortController();
        let aborted;
        setTimeout(() => {
          aborted = performance.now();
          controller.abort();
        }, after);
        const { signal } = controller;
        try {
          await model.generate({ input_ids, max_new_tokens: 1000, do_sample: false, eos_token_id: [], signal });
        } catch (error) {
          return { code: error.code, ms: performance.now() - aborted };
        }
        return {};
      };
      for (const arg of [
        { input_ids: long, after: 200 },
        { input_ids, after: 1500 },
      ]) {
        const { code, ms } = await environment.run(abort, arg);
        assert.equal(code, "ABORTED");
        assert.ok(ms < 1000, `${ms} ms`);
      }
      const again = await environment.run(generate, { input_ids, max_new_tokens: 8, ids: [] });
      assert.deepEqual(again.new_ids, new_ids.slice(0, 8));
    });

    if (options.webgpu !== false) return;
    test("a model that must have WebGPU says that there is none", async () => {
      const arg = { id: "tiny/llama-f32", endpoint: hub.endpoint };
      for (const asked of [{ device: "webgpu" }, { device_map: { "": 0 } }, { execution_device: 0 }]) {
        await assert.rejects(environment.run(open, { ...arg, options: asked }), { code: "WEBGPU_UNAVAILABLE" });
      }
    });
  });
}

describe("chromium, where WebGPU is a program on the CPU", () => {
  let environment;
  before(async () => {
    environment = await openEnvironment("chromium");
    await environment.run(async ({ env }) => {
      env.allow_software_gpu = false;
    });
  });
  after(() => environment.close());

  const tiny = (options) => ({ id: "tiny/llama-f32", endpoint: hub.endpoint, options });

  test("the CPU computes, and says why", async () => {
    const { map, stats, warnings } = await environment.run(open, tiny({}));
    assert.deepEqual([map, stats.adapter, stats.gpu_bytes], [{ "": "cpu" }, null, 0]);
    assert.match(stats.without_gpu, /SwiftShader.* is a program on the CPU, .*device: "webgpu"/i);
    assert.deepEqual(warnings, [`The model runs on the CPU alone. ${stats.without_gpu}`]);
  });

  test("whoever names the GPU gets it", async () => {
    const named = [
      { device: "webgpu" },
      { device_map: { "": 0 } },
      { execution_device: 0 },
      { max_memory: { 0: "1GB" } },
    ];
    for (const options of named) {
      const { stats, warnings } = await environment.run(open, tiny(options));
      assert.match(stats.adapter.architecture + stats.adapter.description, /swiftshader/i);
      assert.deepEqual([stats.without_gpu, warnings], [null, []]);
    }
  });
});
