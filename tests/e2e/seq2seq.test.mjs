// Encoder-decoders: the logits, the encoder's states and the greedy ids that torch computes, on the GPU and on the CPU.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertClose } from "./support/close.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { golden, startTestHub } from "./support/models.mjs";
import { classOf, SEQ2SEQ_NAMES, seq2seqRepos } from "./support/seq2seq.mjs";

/** Those that have no kernel which others haven't; natively they run on every tier. */
const LIKE_OTHERS = ["m2m_100", "mbart", "pegasus-bf16"];

/** Where the page has no WebGPU, and in Firefox, those that read texts and one that reads sound must do. */
const ONE_A_KIND = ["bart", "t5", "whisper-bf16"];

/** What comes between the layers of some. */
const STATES = golden("seq2seq_states.json").cases;

let hub;
before(async () => {
  hub = await startTestHub(seq2seqRepos());
});
after(() => hub.close());

/** Of each input alone outputs and greedy ids, with forced ids at both ends too; and the ids of all texts at once. */
async function run(layerline, { id, endpoint, cls, inputs, start }) {
  const model = await layerline[cls].from_pretrained(id, { endpoint });
  const read = ({ input_ids, input_features }) =>
    input_features
      ? {
          input_features: new layerline.Tensor("float32", input_features.flat(), [
            1,
            input_features.length,
            input_features[0].length,
          ]),
        }
      : { input_ids };
  const numbers = (ids) => ids.tolist().map((row) => row.map(Number));
  const alone = [];
  for (const input of inputs) {
    const { decoder_input_ids, greedy } = input;
    const { logits, encoder_last_hidden_state } = await model({ ...read(input), decoder_input_ids });
    const streamed = [];
    const streamer = { put: (ids) => streamed.push(...ids[0].map(Number)), end: () => streamed.push("end") };
    const written = await model.generate({ ...read(input), max_new_tokens: greedy.length, streamer });
    const [forced_bos_token_id, second] = greedy;
    const forced = await model.generate({
      ...read(input),
      decoder_input_ids: [start],
      forced_bos_token_id,
      forced_eos_token_id: 7,
      max_length: 4,
    });
    alone.push({
      outputs: {
        logits: logits.tolist(),
        encoder_last_hidden_state: encoder_last_hidden_state.tolist(),
      },
      written: numbers(written),
      streamed,
      forced: numbers(forced),
      expected_forced: [[start, forced_bos_token_id, second, 7]],
    });
  }
  let together;
  if (inputs[0].input_ids) {
    const longest = Math.max(...inputs.map(({ input_ids }) => input_ids.length));
    const padded = (of) => inputs.map(({ input_ids }) => Array.from({ length: longest }, (_, i) => of(input_ids, i)));
    const written = await model.generate({
      input_ids: padded((ids, i) => ids[i] ?? 0),
      attention_mask: padded((ids, i) => (i < ids.length ? 1 : 0)),
      max_new_tokens: inputs[0].greedy.length,
    });
    together = numbers(written);
  }
  const result = { alone, together, input_names: model.input_names };
  await model.dispose();
  return result;
}

for (const [where, browser, options, names] of [
  ["chromium", "chromium", {}, SEQ2SEQ_NAMES.filter((name) => !LIKE_OTHERS.includes(name))],
  ["chromium without WebGPU", "chromium", { webgpu: false }, ONE_A_KIND],
  ["firefox", "firefox", {}, ONE_A_KIND],
]) {
  describe(where, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(browser, options);
    });
    after(() => environment.close());

    test("hidden states of both halves, and by which shares tokens attend", async () => {
      for (const { name, positions, f16_error, ...states } of STATES.filter(({ name }) => names.includes(name))) {
        const [{ input_ids, input_features, decoder_input_ids }] = golden(`seq2seq/${name}/golden.json`).inputs;
        const found = await environment.run(
          async (layerline, { id, endpoint, cls, input_ids, features, decoder_input_ids }) => {
            const model = await layerline[cls].from_pretrained(id, { endpoint });
            const input_features =
              features && new layerline.Tensor("float32", features.flat(), [1, features.length, features[0].length]);
            const read = input_features ? { input_features } : { input_ids };
            const more = { output_hidden_states: true, output_attentions: true };
            const output = await model({ ...read, decoder_input_ids, ...more });
            await model.dispose();
            const layers = Object.entries(output).filter(([key]) => /_(hidden_states|attentions)$/.test(key));
            return Object.fromEntries(layers.map(([key, tensors]) => [key, tensors.map((t) => t.tolist())]));
          },
          {
            id: `seq2seq/${name}`,
            endpoint: hub.endpoint,
            cls: classOf(name),
            input_ids,
            features: input_features,
            decoder_input_ids,
          },
        );
        assert.deepEqual(Object.keys(found).sort(), Object.keys(f16_error).sort());
        for (const [key, layers] of Object.entries(found)) {
          assert.equal(layers.length, states[key].length);
          for (const [layer, [rows]] of layers.entries()) {
            // Of attentions each head's row of a position.
            const row = (position) =>
              key.endsWith("attentions") ? rows.flatMap((head) => head[position]) : rows[position];
            const kept = positions[key].flatMap(row);
            assertClose(kept, states[key][layer].flat(2), f16_error[key].max_abs);
          }
        }
      }
    });

    for (const name of names) {
      test(name, async (t) => {
        const { inputs, decoder_start_token_id: start } = golden(`seq2seq/${name}/golden.json`);
        const found = await environment.run(run, {
          id: `seq2seq/${name}`,
          endpoint: hub.endpoint,
          cls: classOf(name),
          start,
          inputs: inputs.map(({ input_ids, input_features, decoder_input_ids, greedy }) => ({
            input_ids,
            input_features,
            decoder_input_ids,
            greedy,
          })),
        });
        assert.deepEqual(
          found.input_names,
          name.startsWith("whisper")
            ? ["input_features", "decoder_input_ids"]
            : ["input_ids", "attention_mask", "decoder_input_ids"],
        );
        for (const [i, { name: kind, positions, outputs, f16_error, greedy }] of inputs.entries()) {
          const { outputs: got, written, streamed, forced, expected_forced } = found.alone[i];
          assert.deepEqual(Object.keys(got).sort(), Object.keys(outputs).sort());
          for (const [output, expected] of Object.entries(outputs)) {
            const rows = positions[output].map((position) => got[output][0][position]);
            const close = assertClose(rows.flat(), expected.flat(), f16_error[output].max_abs);
            t.diagnostic(`${kind}, ${output}: ${close}`);
          }
          assert.deepEqual(written, [[start, ...greedy]]);
          assert.deepEqual(streamed, [start, ...greedy, "end"]);
          assert.deepEqual(forced, expected_forced);
          if (found.together) assert.deepEqual(found.together[i], [start, ...greedy]);
        }
      });
    }
  });
}
