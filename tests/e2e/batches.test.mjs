// Several texts in one call, by a decoder: padded on either side, each comes to what torch makes of it alone.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertClose } from "./support/close.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { golden, startTestHub } from "./support/models.mjs";

const NAME = "llama-f32";
const { inputs } = golden(`tiny/${NAME}/golden.json`);
const longest = Math.max(...inputs.map(({ input_ids }) => input_ids.length));
const PAD = 7;
const padding = (ids, value) => Array(longest - ids.length).fill(value);
const left = {
  input_ids: inputs.map(({ input_ids }) => [...padding(input_ids, PAD), ...input_ids]),
  attention_mask: inputs.map(({ input_ids }) => [...padding(input_ids, 0), ...input_ids.map(() => 1)]),
};
const right = {
  input_ids: inputs.map(({ input_ids }) => [...input_ids, ...padding(input_ids, PAD)]),
  attention_mask: inputs.map(({ input_ids }) => [...input_ids.map(() => 1), ...padding(input_ids, 0)]),
};

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

for (const [where, options] of [
  ["chromium", {}],
  ["chromium without WebGPU", { webgpu: false }],
]) {
  describe(where, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment("chromium", options);
      const open = async ({ AutoModelForCausalLM }, { id, endpoint }, state) => {
        state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint });
      };
      await environment.run(open, { id: `tiny/${NAME}`, endpoint: hub.endpoint });
    });
    after(() => environment.close());

    test("prompts that are padded on the left go on as they do alone", async () => {
      const generate = async (_, arg, { model }) => {
        const output = await model.generate({ ...arg, do_sample: false });
        return { dims: output.dims, rows: output.tolist().map((row) => row.map(Number)) };
      };
      const [{ greedy }] = inputs;
      const { dims, rows } = await environment.run(generate, { ...left, max_new_tokens: greedy.length });
      assert.deepEqual(dims, [inputs.length, longest + greedy.length]);
      assert.deepEqual(
        rows,
        inputs.map(({ greedy }, i) => [...left.input_ids[i], ...greedy]),
      );
      // A text that ends before the others is filled up.
      const stop = { eos_token_id: inputs[0].greedy[2], pad_token_id: PAD, max_new_tokens: greedy.length };
      const stopped = await environment.run(generate, { ...left, ...stop });
      assert.deepEqual(stopped.rows[0].slice(longest, longest + 4), [...inputs[0].greedy.slice(0, 3), PAD]);
    });

    for (const [side, batch] of Object.entries({ left, right })) {
      test(`logits of texts that are padded on the ${side}, and their loss`, async (t) => {
        const forward = async (_, { positions, ...batch }, { model }) => {
          const labels = batch.input_ids.map((row, i) =>
            row.map((id, at) => (batch.attention_mask[i][at] ? id : -100)),
          );
          const { logits, loss, hidden_states } = await model({ ...batch, labels, output_hidden_states: true });
          return {
            dims: [logits.dims, ...hidden_states.map(({ dims }) => dims)],
            loss: loss.item(),
            rows: positions.map((places, i) => places.map((place) => logits.at(i).at(place).tolist())),
          };
        };
        const start = (i) => (side === "left" ? longest - inputs[i].input_ids.length : 0);
        const positions = inputs.map((input, i) => input.positions.map((position) => start(i) + position));
        const found = await environment.run(forward, { ...batch, positions });
        for (const dims of found.dims) assert.deepEqual(dims.slice(0, 2), [inputs.length, longest]);
        assert.ok(found.loss > 0 && Number.isFinite(found.loss));
        for (const [i, { name, logits, f16_error }] of inputs.entries()) {
          t.diagnostic(`${name}: ${assertClose(found.rows[i].flat(), logits.flat(), f16_error.max_abs)}`);
        }
      });
    }

    test("a streamer takes one text", async () => {
      const stream = async (_, batch, { model }) => {
        await model.generate({ ...batch, max_new_tokens: 1, streamer: { put() {}, end() {} } });
      };
      await assert.rejects(environment.run(stream, left), { code: "UNSUPPORTED_OPTION" });
    });
  });
}
