// A model of which half the layers are in CPU memory, beside the same all on the GPU and all on the CPU: in turns.
import { generate, promptIds, withModel } from "./layerline.mjs";

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
export function measureOffload(name, synthetic) {
  return withModel(name, synthetic, async (environment, model) => {
    const prompt = promptIds(PROMPT_TOKENS);
    const layers = await environment.run(countLayers, model);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const of = {};
      for (const [kind, { offloaded, ...options }] of Object.entries(KINDS)) {
        // One at a time: all of them together would want more memory than a page has.
        await environment.run(open, { ...model, ...options, device_map: mapOf(layers, offloaded) });
        // What the model learns of the devices' speeds it learns from a prompt.
        await environment.run(generate, { prompt: prompt.toReversed(), max_new_tokens: 2 });
        of[kind] = await environment.run(generate, { prompt, max_new_tokens: NEW_TOKENS + 1 });
        await environment.run((_, __, state) => state.model.dispose());
      }
      rounds.push(of);
    }
    return { name, promptTokens: PROMPT_TOKENS, rounds };
  });
}

/** A map that has a part of the layers, the last ones, in CPU memory; of all of them what is beside them too. */
function mapOf(count, offloaded) {
  const kept = Math.round(count * (1 - offloaded));
  const layers = Array.from({ length: count }, (_, layer) => [`model.layers.${layer}`, layer < kept ? 0 : "cpu"]);
  const beside = ["model.embed_tokens", "model.norm", "lm_head"].map((module) => [module, kept > 0 ? 0 : "cpu"]);
  return Object.fromEntries([...layers, ...beside]);
}

// The rest runs in the environment.

async function countLayers({ AutoModelForCausalLM }, { id, ...options }) {
  const model = await AutoModelForCausalLM.from_pretrained(id, { ...options, prefetch: false });
  const { num_hidden_layers } = model.config;
  await model.dispose();
  return num_hidden_layers;
}

async function open({ AutoModelForCausalLM }, { id, ...options }, state) {
  state.model = await AutoModelForCausalLM.from_pretrained(id, options);
  await state.model.ready();
}
