// A page that is cross-origin isolated computes with several threads what is in CPU memory: the same tokens as torch, each thread with
// its part of the weights.
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

async function open({ AutoModelForCausalLM, env }, { endpoint, id, threads, options }, state) {
  await state.model?.dispose();
  env.num_threads = threads;
  state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, ...options });
  await state.model.ready();
  const cores = Math.min(navigator.hardwareConcurrency, 8);
  return { stats: await state.model.stats(), cores, isolated: crossOriginIsolated };
}

async function generate(_, { input_ids, max_new_tokens, ids }, { model }) {
  const output = await model.generate({ input_ids, max_new_tokens, do_sample: false });
  const { logits } = await model.forward({ input_ids, logits_to_keep: 1 });
  return {
    new_ids: Array.from(output.data, Number).slice(input_ids.length),
    logits: ids.map((id) => logits.data[id]),
  };
}

for (const [name, texts] of [
  ["chromium", named("counting", "chat")],
  ["firefox", named("chat")],
]) {
  describe(name, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(name, { isolated: true });
    });
    after(() => environment.close());
    const load = (threads, options) =>
      environment.run(open, { id: SAMPLE, endpoint: hub.endpoint, threads, options: { ...options } });
    const equalsTorch = async (prompt, t) => {
      const { input_ids, new_ids, logits, f16_error } = prompt;
      const ids = [...logits.top_ids, ...logits.other_ids];
      const found = await environment.run(generate, { input_ids, max_new_tokens: new_ids.length, ids });
      assert.deepEqual(found.new_ids, newIds(prompt));
      t.diagnostic(assertClose(found.logits, [...logits.top, ...logits.other], f16_error.prompt.max_abs));
    };

    test("each core has a part of the weights, and one that is not asked for has none", async () => {
      const one = await load(1, { device: "cpu" });
      assert.ok(one.isolated);
      assert.equal(one.stats.cpu_threads, 1);
      const { stats, cores } = await load(undefined, { device: "cpu" });
      assert.equal(stats.cpu_threads, cores);
      // All of them, wherever they lie.
      assert.equal(stats.held_bytes, one.stats.held_bytes);
      const saved = one.stats.wasm_memory_bytes - stats.wasm_memory_bytes;
      // Small matrices stay.
      if (cores > 1) assert.ok(saved > 0.8 * (1 - 1 / cores) * stats.held_bytes, `${saved} bytes are elsewhere`);
    });

    for (const threads of name === "chromium" ? [2, 3] : [2]) {
      for (const prompt of texts) {
        test(`${threads} threads, ${prompt.name}: ${prompt.input_ids.length} ids`, async (t) => {
          const { stats } = await load(threads, { device: "cpu" });
          assert.equal(stats.cpu_threads, threads);
          await equalsTorch(prompt, t);
        });
      }
    }

    test("layers of theirs go to the GPU for a prompt, and those on the GPU need no threads", async (t) => {
      const { stats } = await load(2, { max_memory: { 0: "140MB", cpu: "1GB" }, execution_device: null });
      assert.equal(stats.cpu_threads, 2);
      await equalsTorch(texts[0], t);
      if (name !== "chromium") return;
      const tiny = await environment.run(open, { id: "tiny/llama-f32", endpoint: hub.endpoint, threads: 2 });
      assert.equal(tiny.stats.cpu_threads, 1);
    });
  });
}
