import { fileURLToPath } from "node:url";
import { launchChromium, launchFirefox, launchUnwatchedChromium, vulkanDriver } from "./browsers.mjs";
import { bundleAndServe } from "./site.mjs";

const PAGE = fileURLToPath(new URL("page/", import.meta.url));

/** Where the package runs in the tests, and whether the adapter there has shader-f16. */
export const ENVIRONMENTS = [
  { name: "chromium", shaderF16: false },
  { name: "firefox", shaderF16: true },
  { name: "node", shaderF16: true },
];

/**
 * Opens an environment. `run(f, arg)` calls `f(layerline, arg, state)` in it and gives what it resolves to; `f` sees
 * nothing else of the test file, its argument and result are JSON, and `state` keeps values from one call to the next.
 * What it throws is thrown here with its name and code.
 */
export function openEnvironment(name, options) {
  return {
    chromium: () => openPage(launchChromium(options), options),
    "unwatched chromium": () => openPage(launchUnwatchedChromium(options), options),
    firefox: () => openPage(launchFirefox(), options),
    node: openNode,
  }[name]();
}

async function openPage(launched, { port, isolated } = {}) {
  const [browser, site] = await Promise.all([launched, bundleAndServe(PAGE, port, { isolated })]);
  const page = await browser.newPage();
  const violations = [];
  page.on("console", (message) => {
    if (/content.security.policy/i.test(message.text())) violations.push(message.text());
  });
  await page.goto(site.url);
  await page.waitForFunction("globalThis.layerline !== undefined");
  return {
    /** Storage belongs to an origin, and so to a port. */
    port: Number(new URL(site.url).port),
    /** What the page's policy refused, as the browser wrote it to the console. */
    violations,
    async run(f, arg) {
      const call = `(${f})(globalThis.layerline, ${JSON.stringify(arg) ?? "undefined"}, globalThis.state)`;
      const caught = "(e) => ({ thrown: { name: e?.name, code: e?.code, message: String(e?.message ?? e) } })";
      return unwrap(await page.evaluate(`(async () => ${call})().then((value) => ({ value }), ${caught})`));
    },
    /** Gives the page's origin so many bytes of storage; undefined: as many as ever. Chromium only. */
    async limitStorage(quotaSize) {
      const session = await page.context().newCDPSession(page);
      const { origin } = new URL(site.url);
      await session.send("Storage.overrideQuotaForOrigin", { origin, ...(quotaSize && { quotaSize }) });
      await session.detach();
    },
    async close() {
      await browser.close();
      await site.close();
    },
  };
}

function unwrap({ value, thrown }) {
  if (!thrown) return value;
  throw Object.assign(new Error(thrown.message), { name: thrown.name, code: thrown.code });
}

async function openNode() {
  Object.assign(process.env, vulkanDriver());
  const [layerline, webgpu] = await Promise.all([import("layerline"), import("webgpu")]);
  Object.assign(globalThis, webgpu.globals);
  Object.defineProperty(globalThis, "navigator", { value: { gpu: webgpu.create([]) }, configurable: true });
  layerline.env.use_browser_cache = false;
  layerline.env.allow_software_gpu = true;
  const state = {};
  return {
    violations: [],
    run: async (f, arg) => f(layerline, arg, state),
    async close() {
      await state.model?.dispose();
      // Dawn keeps the process alive as long as somebody holds it.
      delete globalThis.navigator;
    },
  };
}
