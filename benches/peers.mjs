// transformers.js on its WebGPU backend beside Layerline: the same weights in the same Chromium.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { launchChromium } from "../tests/e2e/support/browsers.mjs";
import { openEnvironment } from "../tests/e2e/support/environments.mjs";
import { SAMPLE, startTestHub } from "../tests/e2e/support/models.mjs";
import { bundleAndServe } from "../tests/e2e/support/site.mjs";
import { generate, promptIds } from "./layerline.mjs";
import { childrenPeakRss } from "./memory.mjs";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
/** Made by export_onnx.py. */
const ONNX = at("../.cache/onnx/SmolLM2-135M-Instruct-dq4");
const ONNX_ID = `${SAMPLE}-onnx`;

/** transformers.js takes many seconds for a token on a software GPU. */
const TOKENS = 3;

/** Milliseconds a token, of both; and what transformers.js takes to load. */
export async function measurePeers() {
  const version = peerVersion();
  const hub = await startTestHub({ [ONNX_ID]: { path: ONNX } });
  const environment = await openEnvironment("chromium");
  await environment.run(
    async ({ AutoModelForCausalLM }, { id, endpoint }, state) => {
      state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint });
      await state.model.ready();
    },
    { id: SAMPLE, endpoint: hub.endpoint },
  );
  const prompt = promptIds().slice(0, 4);
  const input = { prompt, max_new_tokens: TOKENS + 1 };

  // Before and after, because the machine may do other work too.
  const before = await environment.run(generate, input);
  const rssBefore = childrenPeakRss();
  const peer = await openPeer();
  const loadMs = await peer.load(hub, "webgpu");
  const theirs = await peer.generate(prompt, TOKENS + 1);
  const rss = childrenPeakRss() - rssBefore;
  const after = await environment.run(generate, input);
  await environment.close();
  await peer.close();
  await hub.close();
  const sameIds = String(before.ids) === String(theirs.ids);
  return { version, loadMs, rss, ours: [before.tokenMs, after.tokenMs], theirs: theirs.gaps, sameIds };
}

/** How often both take turns on the CPU, and the tokens of a turn after the first. */
const CPU_ROUNDS = 3;
const CPU_TOKENS = 32;

/** Both on the CPU, on one thread each, in Chromium without WebGPU, in turns: milliseconds of a prompt and of a token. */
export async function measureCpuPeers() {
  const version = peerVersion();
  const hub = await startTestHub({ [ONNX_ID]: { path: ONNX } });
  const environment = await openEnvironment("chromium", { webgpu: false });
  // A browser without relaxed-simd.
  const plain = await openEnvironment("chromium", { webgpu: false });
  const peer = await openPeer({ webgpu: false });
  try {
    const open = async ({ AutoModelForCausalLM }, { id, endpoint, fused }, state) => {
      if (!fused) WebAssembly.validate = () => false;
      state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, worker: fused });
      await state.model.ready();
      if ((await state.model.stats()).cpu_fused !== fused) throw new Error("the browser has other instructions");
      return crossOriginIsolated;
    };
    const isolated = await environment.run(open, { id: SAMPLE, endpoint: hub.endpoint, fused: true });
    await plain.run(open, { id: SAMPLE, endpoint: hub.endpoint, fused: false });
    if (isolated) throw new Error("onnxruntime would take several threads");
    await peer.load(hub, "wasm");
    const prompt = promptIds();
    const rounds = [];
    for (let round = 0; round < CPU_ROUNDS; round++) {
      const asked = { prompt, max_new_tokens: CPU_TOKENS + 1 };
      const [ours, without] = [await environment.run(generate, asked), await plain.run(generate, asked)];
      const { gaps, prefillMs, ids } = await peer.generate(prompt, CPU_TOKENS + 1);
      const tokenMs = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
      rounds.push({ ours, without, theirs: { prefillMs, tokenMs }, sameIds: String(ours.ids) === String(ids) });
    }
    return { version, promptTokens: prompt.length, rounds };
  } finally {
    await environment.close();
    await plain.close();
    await peer.close();
    await hub.close();
  }
}

function peerVersion() {
  return JSON.parse(readFileSync(at("node_modules/@huggingface/transformers/package.json"), "utf8")).version;
}

async function openPeer(options) {
  const [browser, site] = await Promise.all([launchChromium(options), bundleAndServe(at("peer_page"))]);
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(`transformers.js: ${error.message}`));
  await page.goto(site.url);
  await page.waitForFunction("globalThis.generate !== undefined");
  return {
    load: ({ endpoint }, device) =>
      page.evaluate(([id, endpoint, device]) => globalThis.load(id, endpoint, device), [ONNX_ID, endpoint, device]),
    generate: (prompt, tokens) =>
      page.evaluate(([prompt, tokens]) => globalThis.generate(prompt, tokens), [prompt, tokens]),
    close: () => browser.close().then(() => site.close()),
  };
}
