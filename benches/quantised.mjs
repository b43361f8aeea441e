// Weights rounded to integers beside the same in half precision: one page, in turns.
import { openEnvironment } from "../tests/e2e/support/environments.mjs";
import { SAMPLE, startTestHub } from "../tests/e2e/support/models.mjs";
import { inTurns, promptIds } from "./layerline.mjs";

const ROUNDS = 3;
const TOKENS = { cpu: 32, gpu: 8 };
const KINDS = { halves: {}, int8: { dtype: "q8" }, int4: { dtype: "q4" } };

/** Of each round, milliseconds of a prompt and of a token by each kind; and of each kind, how long it loaded and what it takes. */
export async function measureQuantised(name, device) {
  const hub = await startTestHub();
  const environment = await openEnvironment(name, device === "cpu" ? { webgpu: false } : {});
  try {
    await hub.sha(SAMPLE);
    const loaded = await environment.run(
      async ({ AutoModelForCausalLM }, { id, endpoint, kinds }, state) => {
        const loaded = {};
        for (const [kind, options] of Object.entries(kinds)) {
          const start = performance.now();
          state[kind] = await AutoModelForCausalLM.from_pretrained(id, { endpoint, ...options });
          await state[kind].ready();
          const ms = performance.now() - start;
          const { weight_bytes, held_bytes, gpu_bytes } = await state[kind].stats();
          loaded[kind] = { ms, weight_bytes, held_bytes, gpu_bytes };
        }
        return loaded;
      },
      { id: SAMPLE, endpoint: hub.endpoint, kinds: KINDS },
    );
    const prompt = promptIds().slice(0, device === "cpu" ? 128 : 64);
    const rounds = await inTurns(environment, Object.keys(KINDS), ROUNDS, {
      prompt,
      max_new_tokens: TOKENS[device] + 1,
    });
    return { name, device, loaded, promptTokens: prompt.length, rounds };
  } finally {
    await environment.close();
    await hub.close();
  }
}
