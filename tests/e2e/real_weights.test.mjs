// Real weights that people have trained: an encoder of sentences, its vectors and what they tell apart; a GPT-2 in PyTorch's
// own format. What torch computes from the same files, on the GPU and on the CPU alone.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertClose, newIds } from "./support/close.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { golden, startTestHub } from "./support/models.mjs";

const MINILM = "sentence-transformers/all-MiniLM-L6-v2";
const GPT2 = "layerline/microformer-gpt2";

const { sentences, cosines, cosines_f16_error } = golden("minilm.json");
const { prompts } = golden("gpt2_bin.json");

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

async function embed({ SentenceTransformer, pipeline }, { id, endpoint, texts }) {
  const model = await SentenceTransformer.from_pretrained(id, { endpoint });
  const one_by_one = [];
  for (const text of texts) one_by_one.push((await model.encode(text)).tolist()[0]);
  const together = (await model.encode(texts)).tolist();
  await model.dispose();
  const extract = await pipeline("feature-extraction", id, { endpoint });
  const piped = (await extract(texts[0], { pooling: "mean", normalize: true })).tolist();
  await extract.dispose();
  return { one_by_one, together, piped };
}

async function write({ AutoModelForCausalLM }, { id, endpoint, cases }) {
  const [model, info] = await AutoModelForCausalLM.from_pretrained(id, { endpoint, output_loading_info: true });
  const results = [];
  for (const { input_ids, count, ids } of cases) {
    const output = await model.generate({ input_ids, max_new_tokens: count, do_sample: false });
    const { logits } = await model.forward({ input_ids, logits_to_keep: 1 });
    results.push({ output: Array.from(output.data, Number), logits: ids.map((id) => logits.data[id]) });
  }
  await model.dispose();
  return { results, info: { missing: [...info.missing_keys], unexpected: [...info.unexpected_keys] } };
}

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** A software GPU reads a text of hundreds of tokens for most of a minute: the CPU has those to itself. */
const SHORT = 32;

for (const [where, options, most] of [
  ["chromium", {}, SHORT],
  ["chromium without WebGPU", { webgpu: false }, Infinity],
]) {
  describe(where, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment("chromium", options);
    });
    after(() => environment.close());

    test("all-MiniLM-L6-v2 makes torch's vectors, one by one and together", async (t) => {
      const chosen = sentences.filter(({ input_ids }) => input_ids.length <= most);
      const texts = chosen.map(({ text }) => text);
      const found = await environment.run(embed, { id: MINILM, endpoint: hub.endpoint, texts });
      for (const [at, { name, embedding, f16_error }] of chosen.entries()) {
        const words = assertClose(found.one_by_one[at], embedding, f16_error.max_abs);
        assertClose(found.together[at], embedding, f16_error.max_abs);
        t.diagnostic(`${name}: ${words}`);
      }
      assertClose(found.piped[0], chosen[0].embedding, chosen[0].f16_error.max_abs);
      const places = chosen.map((sentence) => sentences.indexOf(sentence));
      for (const [at, vector] of found.together.entries()) {
        const own = found.together.map((other) => dot(vector, other));
        const row = places.map((place) => cosines[places[at]][place]);
        assertClose(own, row, cosines_f16_error.max_abs);
      }
      // What is eaten is nearer to what is eaten than to who is carried.
      const [food, bread, baby] = ["food", "bread", "baby"].map((name) => chosen.findIndex((s) => s.name === name));
      assert.ok(dot(found.together[food], found.together[bread]) > 0.75);
      assert.ok(dot(found.together[food], found.together[baby]) < 0);
    });

    test("a GPT-2 of pytorch_model.bin writes what torch writes", async (t) => {
      const chosen = prompts.filter(({ input_ids }) => input_ids.length <= most);
      const cases = chosen.map(({ input_ids, new_ids, logits }) => ({
        input_ids,
        count: new_ids.length,
        ids: [...logits.top_ids, ...logits.other_ids],
      }));
      const { results, info } = await environment.run(write, { id: GPT2, endpoint: hub.endpoint, cases });
      assert.deepEqual(info, { missing: [], unexpected: [] });
      for (const [at, prompt] of chosen.entries()) {
        assert.deepEqual(results[at].output, [...prompt.input_ids, ...newIds(prompt)], prompt.name);
        const { top, other } = prompt.logits;
        t.diagnostic(
          `${prompt.name}: ${assertClose(results[at].logits, [...top, ...other], prompt.f16_error.prompt.max_abs)}`,
        );
      }
    });
  });
}
