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

    test("what was read before is gone on from, by generate and by a pass", async (t) => {
      const go_on = async (_, { first, more }, { model }) => {
        const run = async (inputs) => {
          const before = (await model.stats()).prefilled_tokens;
          const output = await model.generate({ ...inputs, max_new_tokens: 3, return_dict_in_generate: true });
          return [output, (await model.stats()).prefilled_tokens - before];
        };
        const { logits } = await model({ input_ids: [...first, ...more] });
        await model.generate({ input_ids: [5], max_new_tokens: 1 });
        const [{ past_key_values: past }] = await run({ input_ids: first });
        const all = [...past.texts[0], ...more];
        const [{ sequences }, read] = await run({ input_ids: all, past_key_values: past });
        const [fresh] = await run({ input_ids: all });
        const start = await model({ input_ids: first });
        const rest = await model({ input_ids: more, past_key_values: start.past_key_values });
        return {
          read,
          texts: [sequences, fresh.sequences].map((ids) => ids.tolist().flat().map(Number)),
          dims: rest.logits.dims,
          logits: [logits, rest.logits].map((all) => Array.from(all.data.slice(-all.dims[2]))),
          length: rest.past_key_values.get_seq_length(),
        };
      };
      const [{ input_ids: first, f16_error }] = inputs;
      const more = [11, 12, 13, 14];
      const { read, texts, dims, logits, length } = await environment.run(go_on, { first, more });
      assert.equal(read, more.length, "what was read before isn't read again");
      assert.deepEqual(texts[0], texts[1]);
      assert.deepEqual(dims.slice(0, 2), [1, more.length]);
      assert.equal(length, first.length + more.length);
      t.diagnostic(assertClose(logits[1], logits[0], f16_error.max_abs));
    });

    test("rows are read in the place of ids, and positions are told", async (t) => {
      const { cases } = golden("inputs.json");
      const told = cases.filter(({ name }) => name === `tiny/${NAME}`);
      assert.equal(told.length, 3);
      for (const { input_ids, position_ids, embeds_scale, rows, greedy, f16_error } of told) {
        const run = async ({ Tensor }, { inputs, scale, count }, { model }) => {
          const n = inputs.input_ids.length;
          const width = model.config.hidden_size;
          const row = Float32Array.from({ length: n * width }, (_, i) => scale * Math.sin(0.37 * i + 1));
          const { input_ids, ...more } = inputs;
          const read = scale ? { ...more, inputs_embeds: new Tensor("float32", row, [1, n, width]) } : inputs;
          const { logits } = await model(read);
          const output = await model.generate({ ...read, max_new_tokens: count, eos_token_id: [] });
          return { rows: logits.at(0).tolist().slice(-2), ids: output.tolist()[0].slice(-count).map(Number) };
        };
        const given = { input_ids, ...(position_ids && { position_ids }) };
        const found = await environment.run(run, { inputs: given, scale: embeds_scale, count: greedy.length });
        t.diagnostic(assertClose(found.rows.flat(), rows.flat(), f16_error.max_abs));
        assert.deepEqual(found.ids, greedy);
      }
    });

    test("rows of another width are an error, and the model goes on", async () => {
      const wrong = async ({ Tensor }, { narrower }, { model }) => {
        const width = model.config.hidden_size - narrower;
        await model({ inputs_embeds: new Tensor("float32", new Float32Array(2 * width), [1, 2, width]) });
      };
      await assert.rejects(environment.run(wrong, { narrower: 4 }), { code: "INPUT_IDS" });
      // As many numbers as one of two tokens has.
      await assert.rejects(environment.run(wrong, { narrower: 36 }), { code: "INPUT_IDS" });
      await environment.run(wrong, { narrower: 0 });
    });

    test("a streamer takes one text", async () => {
      const stream = async (_, batch, { model }) => {
        await model.generate({ ...batch, max_new_tokens: 1, streamer: { put() {}, end() {} } });
      };
      await assert.rejects(environment.run(stream, left), { code: "UNSUPPORTED_OPTION" });
    });
  });
}
