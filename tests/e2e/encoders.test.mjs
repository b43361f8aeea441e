// Encoders with every head: what torch computes, for one text and for a batch, on the GPU and on the CPU.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertClose } from "./support/close.mjs";
import { CLASSES, ENCODER_NAMES, encoderRepos } from "./support/encoders.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { golden, startTestHub } from "./support/models.mjs";

/** Where the page has no WebGPU, and in Firefox, a head of each family must do. */
const ONE_A_FAMILY = [
  "bert-base",
  "distilbert-question-answering",
  "modernbert-masked-lm",
  "modernbert-sequence-classification-mean",
  "mpnet-masked-lm",
  "roberta-sequence-classification",
  "roberta-token-classification",
  "xlm-roberta-base",
];

/** Attention weights of some of them. */
const SHOWN = golden("attentions.json").cases.filter(({ name }) => name.startsWith("encoders/"));

let hub;
before(async () => {
  hub = await startTestHub(encoderRepos());
});
after(() => hub.close());

/** Outputs of each text alone, of all at once, and hidden states of the first. */
async function run(layerline, { id, endpoint, cls, inputs, batch, options }) {
  const model = await layerline[cls].from_pretrained(id, { endpoint, ...options });
  const lists = (output) =>
    Object.fromEntries(
      Object.entries(output).map(([name, t]) => [name, Array.isArray(t) ? t.map((x) => x.tolist()) : t.tolist()]),
    );
  const alone = [];
  for (const input of inputs) alone.push(lists(await model(input)));
  const output_hidden_states = true;
  const result = {
    alone,
    together: lists(await model(batch)),
    hidden_states: lists(await model({ ...inputs[0], output_hidden_states })).hidden_states,
    input_names: model.input_names,
    generating: await model.generate({ input_ids: [1] }).catch((error) => error.code),
  };
  await model.dispose();
  return result;
}

/** The part of a batch's output that is not padding. */
const unpadded = (rows, length, batchLength) =>
  Array.isArray(rows) && rows.length === batchLength ? rows.slice(0, length) : rows;

for (const [where, browser, options, names] of [
  ["chromium", "chromium", {}, ENCODER_NAMES],
  ["chromium without WebGPU", "chromium", { webgpu: false }, ONE_A_FAMILY],
  ["firefox", "firefox", {}, ONE_A_FAMILY],
]) {
  describe(where, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(browser, options);
    });
    after(() => environment.close());

    test("by which shares tokens attend to each other", async () => {
      for (const { name, input_ids, attentions, f16_error } of SHOWN) {
        if (!names.includes(name.replace("encoders/", ""))) continue;
        const found = await environment.run(
          async ({ AutoModel }, { id, endpoint, input_ids }) => {
            const model = await AutoModel.from_pretrained(id, { endpoint });
            const output = await model({ input_ids, output_attentions: true });
            await model.dispose();
            return output.attentions.map((layer) => layer.tolist());
          },
          { id: name, endpoint: hub.endpoint, input_ids },
        );
        assert.equal(found.length, attentions.length);
        for (const [layer, [heads]] of found.entries()) {
          assertClose(heads.flat(2), attentions[layer].flat(2), f16_error.max_abs);
        }
      }
    });

    for (const name of names) {
      test(name, async (t) => {
        const { task, inputs, batch } = golden(`encoders/${name}/golden.json`);
        const { max_difference: _, ...together } = batch;
        const found = await environment.run(run, {
          id: `encoders/${name}`,
          endpoint: hub.endpoint,
          cls: CLASSES[task],
          inputs: inputs.map(({ input_ids, token_type_ids }) => ({
            input_ids,
            ...(token_type_ids && { token_type_ids }),
          })),
          batch: together,
        });
        assert.equal(found.generating, "NO_HEAD");
        assert.equal(found.input_names.includes("token_type_ids"), "token_type_ids" in batch);
        const longest = batch.input_ids[0].length;
        for (const [i, { name: kind, input_ids, positions, outputs, f16_error }] of inputs.entries()) {
          assert.deepEqual(Object.keys(found.alone[i]).sort(), Object.keys(outputs).sort());
          for (const [output, expected] of Object.entries(outputs)) {
            const [own] = found.alone[i][output];
            const perToken = expected.length === positions.length && own.length === input_ids.length;
            const got = perToken ? positions.map((position) => own[position]) : own;
            const close = assertClose(got.flat(), expected.flat(), f16_error[output].max_abs);
            t.diagnostic(`${kind}, ${output}: ${close}`);
            // Padding is taken off, so that each text is computed as it is alone.
            const row = found.together[output][i];
            assert.deepEqual(unpadded(row, own.length, longest), own);
            if (row.length === longest)
              assert.ok(
                row
                  .slice(own.length)
                  .flat()
                  .every((value) => value === 0),
              );
          }
        }
        const [{ hidden_states, f16_error }] = inputs;
        // The goldens of bare models have them.
        if (!hidden_states) return;
        const worst = Math.max(...Object.values(f16_error).map(({ max_abs }) => max_abs));
        assert.equal(found.hidden_states.length, hidden_states.length);
        for (const [layer, expected] of hidden_states.entries()) {
          assertClose(found.hidden_states[layer][0].flat(), expected.flat(), worst);
        }
      });
    }
  });
}
