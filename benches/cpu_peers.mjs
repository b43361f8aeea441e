// The fastest others that compute on the CPU beside Layerline: one thread each, the same model, Chromium without WebGPU.
import { fileURLToPath } from "node:url";
import { openEnvironment } from "../tests/e2e/support/environments.mjs";
import { golden, SAMPLE, startTestHub } from "../tests/e2e/support/models.mjs";
import { generate, NEW_TOKENS, PROMPT_TOKENS } from "./layerline.mjs";
import { ONNX_ID, ONNX_REPO, openPeer, versionOf } from "./peers.mjs";

/** Made by gguf_models.py. */
const GGUF = fileURLToPath(new URL("../.cache/gguf", import.meta.url));
const GGUF_ID = `${SAMPLE}-gguf`;

/** A text of more tokens than are read. */
const LONG = golden("smollm2.json").prompts.find(({ input_ids }) => input_ids.length > 2 * PROMPT_TOKENS);

/** How often all take turns. */
const ROUNDS = 3;

/** Room for the prompt and what follows it, as Layerline keeps it at first. */
const POSITIONS = 256;

/**
 * All in turns: `{versions, promptTokens, rounds}`; a round has, by name, the milliseconds of a prompt and of a token
 * after it, and whether transformers.js chose the same tokens.
 */
export async function measureCpuPeers() {
  const versions = { transformers: versionOf("@huggingface/transformers"), wllama: versionOf("@wllama/wllama") };
  const hub = await startTestHub({ ...ONNX_REPO, [GGUF_ID]: { path: GGUF } });
  const opened = [];
  const open = async (opening) => {
    const one = await opening;
    opened.push(one);
    return one;
  };
  const browser = { webgpu: false };
  try {
    const ours = await open(openEnvironment("chromium", browser));
    // A browser without relaxed-simd.
    const plain = await open(openEnvironment("chromium", browser));
    const sample = { id: SAMPLE, endpoint: hub.endpoint };
    const isolated = await ours.run(load, { ...sample, fused: true });
    await plain.run(load, { ...sample, fused: false });
    if (isolated) throw new Error("onnxruntime would take several threads");
    const transformers = await open(openPeer("transformers_page", browser));
    await transformers.load(ONNX_ID, hub.endpoint, "wasm");
    const wllama = {};
    for (const name of ["f16", "q4_1"]) {
      wllama[name] = await open(openPeer("wllama_page", browser));
      await wllama[name].load(`${hub.endpoint}/${GGUF_ID}/resolve/main/${name}.gguf`, POSITIONS);
    }

    // wllama takes texts alone.
    const asked = { ...sample, ids: LONG.input_ids, count: PROMPT_TOKENS };
    const { ids: prompt, text } = await ours.run(textOf, asked);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const turn = { prompt, max_new_tokens: NEW_TOKENS + 1 };
      const [all, without] = [await ours.run(generate, turn), await plain.run(generate, turn)];
      const { gaps, prefillMs, ids } = await transformers.generate(prompt, NEW_TOKENS + 1);
      rounds.push({
        ours: all,
        without,
        transformers: { prefillMs, tokenMs: gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length },
        f16: await wllama.f16.generate(text, NEW_TOKENS + 1),
        q4_1: await wllama.q4_1.generate(text, NEW_TOKENS + 1),
        sameIds: String(all.ids) === String(ids),
      });
    }
    const read = new Set(rounds.flatMap(({ f16, q4_1 }) => [f16.promptTokens, q4_1.promptTokens]));
    if (read.size !== 1 || !read.has(prompt.length)) {
      throw new Error(`wllama read ${[...read].join(" or ")} tokens, not ${prompt.length}`);
    }
    return { versions, promptTokens: prompt.length, rounds };
  } finally {
    for (const one of opened) await one.close();
    await hub.close();
  }
}

// The rest runs in the environment.

async function load({ AutoModelForCausalLM }, { id, endpoint, fused }, state) {
  if (!fused) WebAssembly.validate = () => false;
  state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, worker: fused });
  await state.model.ready();
  if ((await state.model.stats()).cpu_fused !== fused) throw new Error("the browser has other instructions");
  return crossOriginIsolated;
}

/** The first ids of a text, and the text that they are. */
async function textOf({ AutoTokenizer }, { id, endpoint, ids, count }) {
  const tokenizer = await AutoTokenizer.from_pretrained(id, { endpoint });
  const text = tokenizer.decode(ids.slice(0, count));
  return { ids: tokenizer(text).input_ids.tolist()[0].map(Number), text };
}
