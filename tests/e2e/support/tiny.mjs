// Tiny checkpoints and their goldens: what a page is asked of one, and that it answers as torch does.
import assert from "node:assert/strict";
import { assertClose } from "./close.mjs";
import { golden } from "./models.mjs";

/** The inputs of a tiny checkpoint's golden, as `readTiny` takes them. */
export const casesOf = (tiny) =>
  golden(`tiny/${tiny}/golden.json`).inputs.map(({ input_ids, positions, greedy }) => ({
    input_ids,
    positions,
    count: greedy.length,
  }));

/** Runs in the environment: of each case the greedy ids, and the logits at its positions. */
export async function readTiny({ AutoModelForCausalLM }, { id, options, cases }) {
  const model = await AutoModelForCausalLM.from_pretrained(id, options);
  const results = [];
  for (const { input_ids, positions, count } of cases) {
    const output = await model.generate({ input_ids, max_new_tokens: count, do_sample: false });
    const { logits } = await model({ input_ids });
    results.push({ output: Array.from(output.data, Number), logits: positions.map((p) => logits[0][p].tolist()) });
  }
  const { kernels } = await model.stats();
  await model.dispose();
  return { kernels, results };
}

/** Asserts that the results are the golden's, and says how far off they are. */
export function assertTiny(t, tiny, results) {
  for (const [i, { name, input_ids, greedy, logits, f16_error }] of golden(
    `tiny/${tiny}/golden.json`,
  ).inputs.entries()) {
    assert.deepEqual(results[i].output, [...input_ids, ...greedy]);
    t.diagnostic(`${name}: ${assertClose(results[i].logits.flat(), logits.flat(), f16_error.max_abs)}`);
  }
}
