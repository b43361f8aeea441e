// What Layerline costs on a model in one environment.
import { openEnvironment } from "../tests/e2e/support/environments.mjs";
import { SAMPLE, startTestHub } from "../tests/e2e/support/models.mjs";
import { matvecPlan, matvecRates } from "./matvec.mjs";
import { childrenPeakRss } from "./memory.mjs";
import { syntheticRepo } from "./synthetic.mjs";

export const PROMPT_TOKENS = 128;
export const NEW_TOKENS = 32;

/** How often decoding and the single product take turns, and the tokens of a turn. */
const ROUNDS = 5;
const ROUND_TOKENS = 8;
/** Firefox reports completion every 100 ms, so that its batches must be long. */
const BATCH_MS = { chromium: 300, firefox: 2000, node: 300 };

/** Everything measured in an environment, on the sample or on a synthetic model; times in ms, sizes in bytes. */
export function measure(name, synthetic) {
  return withModel(name, synthetic, async (environment, model) => {
    // Alone, so that the weights' stream doesn't count.
    const opening = await environment.run(openOnly, model);
    const rssBefore = childrenPeakRss();
    const cold = await environment.run(firstToken, { ...model, prompt: promptIds() });
    const long = await environment.run(generate, { prompt: promptIds(), max_new_tokens: NEW_TOKENS + 1 });
    // In Node the engine shares its process with the hub. Read before the products' own buffers come.
    const rss = name === "node" ? undefined : childrenPeakRss() - rssBefore;

    const plan = matvecPlan(long.stats, BATCH_MS[name]);
    const products = (await matvecRates(environment, plan)).sort(byRate);
    const shortPrompt = { prompt: promptIds().slice(0, 4), max_new_tokens: ROUND_TOKENS + 1 };
    // On a machine that does other work too, only what ran at the same time can be compared.
    const best = { ...plan, variants: plan.variants.filter((variant) => isSame(variant, products[0])) };
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const { tokenMs } = await environment.run(generate, shortPrompt);
      const [{ bytesPerSecond }] = await matvecRates(environment, best);
      rounds.push({ tokenMs, bytesPerSecond });
    }
    await environment.run((_, __, state) => state.model.dispose());
    return { opening, cold, ...long, rss, products, rounds };
  });
}

/** Gives what `use` does of an environment and of where a hub has the sample, or a synthetic model. */
export async function withModel(name, synthetic, use) {
  const repo = synthetic && (await syntheticRepo(synthetic));
  const id = repo ? `synthetic/${synthetic}` : SAMPLE;
  const hub = await startTestHub(repo ? { [id]: { path: repo.path } } : {});
  const environment = await openEnvironment(name);
  try {
    // The hub hashes a repo when it is first asked for it.
    await hub.sha(id);
    return await use(environment, { id, endpoint: hub.endpoint });
  } finally {
    await environment.close();
    await hub.close();
    await repo?.remove();
  }
}

const byRate = (a, b) => b.bytesPerSecond - a.bytesPerSecond;
const isSame = (a, b) => a.name === b.name && String(a.shape) === String(b.shape);

/** Ids that are ordinary words; which ones makes no difference to the time. */
export function promptIds(length = PROMPT_TOKENS) {
  return Array.from({ length }, (_, i) => 1000 + i * 7);
}

/** Has models that `state` keeps by these names generate in turns: of each round, by name, what `generate` gives. */
export async function inTurns(environment, names, rounds, asked) {
  const all = [];
  for (let round = 0; round < rounds; round++) {
    const of = {};
    for (const name of names) {
      await environment.run((_, name, state) => Object.assign(state, { model: state[name] }) && undefined, name);
      of[name] = await environment.run(generate, asked);
    }
    all.push(of);
  }
  return all;
}

// The rest runs in the environment.

async function openOnly({ AutoModelForCausalLM }, { id, ...options }) {
  const start = performance.now();
  const model = await AutoModelForCausalLM.from_pretrained(id, { ...options, prefetch: false });
  const ms = performance.now() - start;
  const { fetched_bytes, requests } = await model.stats();
  await model.dispose();
  return { ms, fetched_bytes, requests };
}

async function firstToken({ AutoModelForCausalLM }, { id, prompt, ...options }, state) {
  const start = performance.now();
  state.model = await AutoModelForCausalLM.from_pretrained(id, options);
  await state.model.generate({ input_ids: prompt, max_new_tokens: 1, do_sample: false });
  const ms = performance.now() - start;
  const { fetched_bytes, requests } = await state.model.stats();
  return { ms, fetched_bytes, requests };
}

/** Times a greedy generation of exactly so many tokens; the time of a token is the mean of those after the first. */
export async function generate(_, { prompt, max_new_tokens }, { model }) {
  // A prompt that begins as the text before it isn't read again: this one begins otherwise.
  await model.generate({ input_ids: [prompt[0] + 1], max_new_tokens: 1 });
  const times = [performance.now()];
  const streamer = { put: () => times.push(performance.now()), end() {} };
  const input = { input_ids: prompt, max_new_tokens, min_new_tokens: max_new_tokens, do_sample: false, streamer };
  const output = await model.generate(input);
  // The streamer gets the prompt first.
  const [start, , first] = times;
  const made = times.length - 2;
  if (made !== max_new_tokens) throw new Error(`${made} tokens instead of ${max_new_tokens}`);
  return {
    prefillMs: first - start,
    tokenMs: (times.at(-1) - first) / (made - 1),
    ids: Array.from(output.data, Number),
    stats: await model.stats(),
    config: model.config,
  };
}
