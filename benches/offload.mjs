// A model of which half the layers are in CPU memory, beside the same all on the GPU and all on the CPU: in turns.
import { openEnvironment } from "../tests/e2e/support/environments.mjs";
import { SAMPLE, startTestHub } from "../tests/e2e/support/models.mjs";
import { generate } from "./layerline.mjs";
import { syntheticRepo } from "./synthetic.mjs";

const ROUNDS = Number(process.env.ROUNDS ?? 3);
const NEW_TOKENS = 8;
/** For which weights on their way to the GPU may pay. */
const PROMPT_TOKENS = 512;

/** Where the layers are, and who computes with those in CPU memory: what the model finds best where nobody is named. */
const KINDS = {
  gpu: { offloaded: 0 },
  cpu: { offloaded: 1 },
  half: { offloaded: 0.5 },
  computed: { offloaded: 0.5, execution_device: "cpu" },
  streamed: { offloaded: 0.5, execution_device: 0 },
};

/** Of each round, milliseconds of a prompt and of a token by each kind. */
export async function measureOffload(name, synthetic) {
  const repo = synthetic && (await syntheticRepo(synthetic));
  const id = repo ? `synthetic/${synthetic}` : SAMPLE;
  const hub = await startTestHub(repo ? { [id]: { path: repo.path } } : {});
  const environment = await openEnvironment(name);
  try {
    await hub.sha(id);
    const prompt = Array.from({ length: PROMPT_TOKENS }, (_, i) => 1000 + i * 7);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const of = {};
      for (const [kind, options] of Object.entries(KINDS)) {
        // One at a time: all of them together would want more memory than a page has.
        await environment.run(open, { id, endpoint: hub.endpoint, ...options });
        // What the model learns of the devices' speeds it learns from a prompt.
        await environment.run(generate, { prompt: prompt.toReversed(), max_new_tokens: 2 });
        of[kind] = await environment.run(generate, { prompt, max_new_tokens: NEW_TOKENS + 1 });
        await environment.run((_, __, state) => state.model.dispose());
      }
      rounds.push(of);
    }
    return { name, promptTokens: PROMPT_TOKENS, rounds };
  } finally {
    await environment.close();
    await hub.close();
    await repo?.remove();
  }
}

// Runs in the environment.
async function open({ AutoModelForCausalLM }, { id, offloaded, ...options }, state) {
  const unread = await AutoModelForCausalLM.from_pretrained(id, { endpoint: options.endpoint, prefetch: false });
  const { num_hidden_layers } = unread.config;
  await unread.dispose();
  const kept = Math.round(num_hidden_layers * (1 - offloaded));
  const layers = Array.from({ length: num_hidden_layers }, (_, layer) => [
    `model.layers.${layer}`,
    layer < kept ? 0 : "cpu",
  ]);
  const others = offloaded === 1 ? "cpu" : 0;
  const device_map = {
    "model.embed_tokens": others,
    ...Object.fromEntries(layers),
    "model.norm": others,
    lm_head: others,
  };
  state.model = await AutoModelForCausalLM.from_pretrained(id, { ...options, device_map });
  await state.model.ready();
}
