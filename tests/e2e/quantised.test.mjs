// Integers in the place of floats: checkpoints that have them, and weights that are rounded while they are loaded. The same ids as
// torch by the genuine libraries, in every browser, on GPU and CPU.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertClose } from "./support/close.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { golden, SAMPLE, startTestHub } from "./support/models.mjs";
import { assertTiny, casesOf, readTiny } from "./support/tiny.mjs";

const CHECKPOINTS = ["llama-int4", "qwen2-int8", "qwen3-int4-zeros", "qwen2-gptq4-zeros", "qwen2-awq"];
const { sample } = golden("rounded.json");
const { prompts } = golden("smollm2.json");
/** Of a layer's bytes in half precision, integers with their scales take at most so many. */
const SHARE = { int8: 0.52, int4: 0.31 };

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

async function readSample({ AutoModelForCausalLM, QuantoConfig }, { id, options, weights, cases }) {
  const quantization_config = new QuantoConfig({ weights });
  const model = await AutoModelForCausalLM.from_pretrained(id, { ...options, quantization_config });
  await model.ready();
  const results = [];
  for (const { input_ids, count, ids } of cases) {
    const start = performance.now();
    const output = await model.generate({ input_ids, max_new_tokens: count, do_sample: false });
    const ms = performance.now() - start;
    const { logits } = await model.forward({ input_ids, logits_to_keep: 1 });
    results.push({ output: Array.from(output.data, Number), logits: ids.map((id) => logits.data[id]), ms });
  }
  const [layers, { kernels, held_bytes }] = [await model.layers(), await model.stats()];
  await model.dispose();
  return { layers, kernels, held_bytes, results };
}

for (const [name, environment_options, load, kinds] of [
  ["chromium", {}, {}, [["int4", 1]]],
  [
    "chromium",
    { webgpu: false },
    {},
    [
      ["int8", 2],
      ["int4", 2],
    ],
  ],
  ["firefox", {}, {}, [["int8", 1]]],
  ["firefox", {}, { device: "cpu" }, [["int4", 2]]],
]) {
  const on_cpu = load.device === "cpu" || environment_options.webgpu === false;
  describe(`${name}${on_cpu ? ", on the CPU" : ""}`, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(name, environment_options);
    });
    after(() => environment.close());
    const options = () => ({ endpoint: hub.endpoint, ...load });

    for (const tiny of CHECKPOINTS) {
      test(`${tiny}, a checkpoint that is quantised`, async (t) => {
        const arg = { id: `tiny/${tiny}`, options: options(), cases: casesOf(tiny) };
        const { kernels, results } = await environment.run(readTiny, arg);
        assert.match(kernels, !tiny.includes("8") ? /^int4/ : /^int8/);
        assertTiny(t, tiny, results);
      });
    }

    for (const [weights, count] of kinds) {
      test(`the sample model, rounded to ${weights} as quanto does`, async (t) => {
        const expected = sample.filter((one) => one.weights === weights).slice(0, count);
        const given = (one) => prompts.find((prompt) => prompt.name === one.prompt);
        const cases = expected.map((one) => {
          const { input_ids } = given(one);
          return { input_ids, count: one.greedy.length, ids: one.top.ids };
        });
        const arg = { id: SAMPLE, options: options(), weights, cases };
        const { layers, kernels, held_bytes, results } = await environment.run(readSample, arg);
        assert.ok(kernels.startsWith(weights), kernels);
        for (const [i, one] of expected.entries()) {
          const { input_ids, f16_error } = given(one);
          assert.deepEqual(results[i].output, [...input_ids, ...one.greedy]);
          t.diagnostic(assertClose(results[i].logits, one.top.logits, f16_error.prompt.max_abs));
          t.diagnostic(`${input_ids.length} ids and ${one.greedy.length} more in ${Math.round(results[i].ms)} ms`);
        }
        const layer = layers.find(({ name }) => name === "model.layers.0");
        // 3,538,944 elements in linear layers.
        const halves = 2 * 3_538_944;
        assert.ok(layer.bytes <= SHARE[weights] * halves, `${layer.bytes} of ${halves}`);
        if (on_cpu) assert.ok(held_bytes < (weights === "int8" ? 172e6 : 128e6), `${held_bytes} in CPU memory`);
      });
    }
  });
}
