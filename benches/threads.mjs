// Several threads beside one, on the CPU alone: the same page, the same weights, in turns.
import { openEnvironment } from "../tests/e2e/support/environments.mjs";
import { SAMPLE, startTestHub } from "../tests/e2e/support/models.mjs";
import { inTurns, promptIds } from "./layerline.mjs";

const ROUNDS = 5;
const TOKENS = 32;

/** Of each round, milliseconds of a prompt and of a token by one thread and by as many as there are cores. */
export async function measureThreads() {
  const hub = await startTestHub();
  const environment = await openEnvironment("chromium", { webgpu: false, isolated: true });
  try {
    const open = async ({ AutoModelForCausalLM, env }, { id, endpoint }, state) => {
      for (const [name, threads] of [
        ["one", 1],
        ["all", undefined],
      ]) {
        env.num_threads = threads;
        state[name] = await AutoModelForCausalLM.from_pretrained(id, { endpoint });
        await state[name].ready();
      }
      return (await state.all.stats()).cpu_threads;
    };
    const threads = await environment.run(open, { id: SAMPLE, endpoint: hub.endpoint });
    const prompt = promptIds();
    const rounds = await inTurns(environment, ["one", "all"], ROUNDS, { prompt, max_new_tokens: TOKENS + 1 });
    return { threads, promptTokens: prompt.length, rounds };
  } finally {
    await environment.close();
    await hub.close();
  }
}
