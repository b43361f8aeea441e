// Beam search: the texts that transformers finds, on the GPU and on the CPU.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openEnvironment } from "./support/environments.mjs";
import { golden, startTestHub } from "./support/models.mjs";
import { seq2seqRepos } from "./support/seq2seq.mjs";

const { max_new_tokens, cases } = golden("beams.json");
/** Natively all of them run. */
const MODELS = { "tiny/llama-f32": "AutoModelForCausalLM", "seq2seq/bart": "AutoModelForSeq2SeqLM" };
const PAD = 0;

let hub;
before(async () => {
  hub = await startTestHub(seq2seqRepos());
});
after(() => hub.close());

async function search(layerline, { id, endpoint, cls, asked }) {
  const model = await layerline[cls].from_pretrained(id, { endpoint });
  const found = [];
  for (const inputs of asked) {
    const output = await model.generate({ ...inputs, do_sample: false });
    found.push(output.tolist().map((row) => row.map(Number)));
  }
  await model.dispose();
  return found;
}

for (const [where, name, options] of [
  ["chromium", "chromium", {}],
  ["chromium without WebGPU", "chromium", { webgpu: false }],
  ["firefox", "firefox", {}],
]) {
  describe(where, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(name, options);
    });
    after(() => environment.close());

    for (const [id, cls] of Object.entries(MODELS)) {
      test(id, async () => {
        const own = cases.filter(({ model }) => model === id);
        assert.ok(own.length >= 5);
        const asked = own.map(({ input_ids, options }) => ({
          input_ids,
          eos_token_id: [],
          ...options,
          max_new_tokens,
          pad_token_id: PAD,
        }));
        const found = await environment.run(search, { id, endpoint: hub.endpoint, cls, asked });
        for (const [at, { input_ids, options, sequences }] of own.entries()) {
          const given = cls === "AutoModelForCausalLM" ? input_ids : found[at][0].slice(0, 1);
          const longest = Math.max(...sequences.map(({ length }) => length));
          const padded = sequences.map((ids) => [...ids, ...Array(longest - ids.length).fill(PAD)]);
          assert.deepEqual(
            found[at],
            padded.map((ids) => [...given, ...ids]),
            JSON.stringify(options),
          );
        }
      });
    }
  });
}
