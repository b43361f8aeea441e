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
export const ONNX_ID = `${SAMPLE}-onnx`;
export const ONNX_REPO = { [ONNX_ID]: { path: ONNX } };

/** transformers.js takes many seconds for a token on a software GPU. */
const TOKENS = 3;

/** Milliseconds a token, of both; and what transformers.js takes to load. */
export async function measurePeers() {
  const version = versionOf("@huggingface/transformers");
  const hub = await startTestHub(ONNX_REPO);
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
  const peer = await openPeer("transformers_page");
  const loadMs = await peer.load(ONNX_ID, hub.endpoint, "webgpu");
  const theirs = await peer.generate(prompt, TOKENS + 1);
  const rss = childrenPeakRss() - rssBefore;
  const after = await environment.run(generate, input);
  await environment.close();
  await peer.close();
  await hub.close();
  const sameIds = String(before.ids) === String(theirs.ids);
  return { version, loadMs, rss, ours: [before.tokenMs, after.tokenMs], theirs: theirs.gaps, sameIds };
}

/** The version that is installed of a package. */
export function versionOf(name) {
  return JSON.parse(readFileSync(at(`node_modules/${name}/package.json`), "utf8")).version;
}

/**
 * A browser of its own with the page in a folder beside this file, which has functions `load` and `generate`.
 *
 * @param options of the browser
 */
export async function openPeer(folder, options) {
  // Not everyone's worker is a file.
  const served = bundleAndServe(at(folder), undefined, { policy: false });
  const [browser, site] = await Promise.all([launchChromium(options), served]);
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(`${folder}: ${error.message}`));
  await page.goto(site.url);
  await page.waitForFunction("globalThis.generate !== undefined");
  return {
    load: (...asked) => page.evaluate((asked) => globalThis.load(...asked), asked),
    generate: (prompt, tokens) =>
      page.evaluate(([prompt, tokens]) => globalThis.generate(prompt, tokens), [prompt, tokens]),
    close: () => browser.close().then(() => site.close()),
  };
}
