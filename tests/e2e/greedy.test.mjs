// The same greedy ids as torch float32, and logits no further from torch's than torch's own f16 is, in every environment.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertClose, newIds } from "./support/close.mjs";
import { ENVIRONMENTS, openEnvironment } from "./support/environments.mjs";
import { golden, SAMPLE, sampleFile, startTestHub } from "./support/models.mjs";
import { assertTiny, casesOf, readTiny } from "./support/tiny.mjs";

const NEW_TOKENS = 64;
const LONG = 512;
/** Tiny checkpoints that have every kernel between them. Natively all of them run. */
const EVERY_KERNEL = [
  "gemma2",
  "gemma3",
  "gpt2",
  "gpt_neox",
  "lfm2",
  "llama-bf16-bias",
  "llama-f32",
  "olmo2",
  "qwen3",
  "qwen3_moe",
];
/** Node has Firefox's driver, and is slower: what another WebGPU makes of its kernels is seen on a few. */
const IN_NODE = ["gemma2", "gpt2", "llama-f32", "qwen3_moe"];
/** Prompts besides the long one. */
const SHORT_PROMPTS = 4;
/** New ids after the long prompt, which is read for minutes. */
const AFTER_LONG = 16;

const { prompts } = golden("smollm2.json");
const long = prompts.find(({ input_ids }) => input_ids.length > LONG);
// A chat, and the shortest of the others.
const byLength = prompts.filter((p) => p !== long).sort((a, b) => a.input_ids.length - b.input_ids.length);
const chat = byLength.find((p) => p.messages);
const short = [chat, ...byLength.filter((p) => p !== chat)].slice(0, SHORT_PROMPTS);
/** A software GPU needs half a minute for each. */
const PROMPTS = { chromium: [chat, long], firefox: [...short, long], node: [byLength[0]] };

async function generateAndScore(_, { input_ids, max_new_tokens, ids }, { model }) {
  const output = await model.generate({ input_ids, max_new_tokens, do_sample: false });
  // A software GPU reads a long prompt for most of a minute: its ids alone must do.
  if (!ids) return { output: Array.from(output.data, Number) };
  const { logits } = await model.forward({ input_ids, logits_to_keep: 1 });
  return { output: Array.from(output.data, Number), logits: ids.map((id) => logits.data[id]) };
}

function assertGolden(result, prompt) {
  const expected = newIds(prompt).slice(0, newTokens(prompt));
  assert.deepEqual(result.output, [...prompt.input_ids, ...expected]);
  if (!result.logits) return "ids alone";
  const { top, other } = prompt.logits;
  return assertClose(result.logits, [...top, ...other], prompt.f16_error.prompt.max_abs);
}

const newTokens = ({ input_ids, new_ids }) => (input_ids.length > LONG ? AFTER_LONG : new_ids.length);

const scoreArg = (prompt) => ({
  input_ids: prompt.input_ids,
  max_new_tokens: newTokens(prompt),
  ids: prompt === long ? null : [...prompt.logits.top_ids, ...prompt.logits.other_ids],
});

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

test("the goldens have a long prompt, and 64 new ids each", () => {
  assert.ok(long, `no prompt has more than ${LONG} ids`);
  assert.ok(chat, "no prompt is a chat");
  assert.equal(short.length, SHORT_PROMPTS);
  for (const { new_ids } of prompts) assert.equal(new_ids.length, NEW_TOKENS);
});

for (const { name, shaderF16 } of ENVIRONMENTS) {
  describe(name, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(name);
    });
    after(() => environment.close());

    for (const tiny of name === "node" ? IN_NODE : EVERY_KERNEL) {
      test(`${tiny}, a tiny checkpoint`, async (t) => {
        const arg = { id: `tiny/${tiny}`, options: { endpoint: hub.endpoint }, cases: casesOf(tiny) };
        const { results } = await environment.run(readTiny, arg);
        assertTiny(t, tiny, results);
      });
    }

    test("opens the sample model", async (t) => {
      const facts = await environment.run(
        async ({ AutoModelForCausalLM }, { id, endpoint }, state) => {
          state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, device_map: "auto" });
          await state.model.ready();
          const { adapter, kernels } = await state.model.stats();
          return {
            adapter,
            kernels,
            type: state.model.config.model_type,
            footprint: await state.model.get_memory_footprint(),
          };
        },
        { id: SAMPLE, endpoint: hub.endpoint },
      );
      t.diagnostic(`${facts.adapter.description || facts.adapter.vendor}: ${facts.kernels}`);
      assert.equal(facts.adapter.shader_f16, shaderF16);
      assert.equal(facts.type, "llama");
      const { total_size } = JSON.parse(sampleFile("model.safetensors.index.json")).metadata;
      // Vectors are kept in float32, matrices as they came.
      assert.ok(facts.footprint >= total_size && facts.footprint < 1.01 * total_size);
    });

    for (const prompt of PROMPTS[name]) {
      test(`${prompt.name}: ${prompt.input_ids.length} ids`, async (t) => {
        const result = await environment.run(generateAndScore, scoreArg(prompt));
        t.diagnostic(assertGolden(result, prompt));
      });
    }

    test("a stop keeps what is there, an abort rejects, and both leave the model usable", async () => {
      const prompt = short[1];
      const got = await environment.run(
        async ({ InterruptableStoppingCriteria }, { input_ids, max_new_tokens }, { model }) => {
          const stopping_criteria = new InterruptableStoppingCriteria();
          let put = 0;
          const streamer = { put: () => ++put === 4 && stopping_criteria.interrupt(), end() {} };
          const stopped = await model.generate({ input_ids, max_new_tokens, stopping_criteria, streamer });
          const controller = new AbortController();
          const aborting = { put: () => controller.abort(), end() {} };
          const error = await model
            .generate({ input_ids, max_new_tokens, streamer: aborting, signal: controller.signal })
            .catch((e) => ({ name: e.name, code: e.code }));
          const again = await model.generate({ input_ids, max_new_tokens: 2 });
          return { stopped: Array.from(stopped.data, Number), error, again: Array.from(again.data, Number) };
        },
        scoreArg(prompt),
      );
      // The prompt is the first put, so that the fourth has the third new id.
      assert.deepEqual(got.stopped, [...prompt.input_ids, ...prompt.new_ids.slice(0, 3)]);
      assert.deepEqual(got.error, { name: "AbortError", code: "ABORTED" });
      assert.deepEqual(got.again, [...prompt.input_ids, ...prompt.new_ids.slice(0, 2)]);
    });

    test("a text that goes on is not read again", async () => {
      const { input_ids, new_ids } = short[1];
      const got = await environment.run(
        async (_, { input_ids }, { model }) => {
          const read = async (input_ids) => {
            const { prefilled_tokens } = await model.stats();
            const { data } = await model.generate({ input_ids, max_new_tokens: 3, do_sample: false });
            return { text: Array.from(data, Number), read: (await model.stats()).prefilled_tokens - prefilled_tokens };
          };
          const first = await read(input_ids);
          return [first, await read(first.text)];
        },
        { input_ids },
      );
      assert.deepEqual(got.at(-1).text, [...input_ids, ...new_ids.slice(0, 6)]);
      // The last token of a text is written and not read.
      assert.equal(got.at(-1).read, 1);
    });

    test("nothing was refused by the page's policy", () => {
      assert.deepEqual(environment.violations, []);
    });
  });
}
