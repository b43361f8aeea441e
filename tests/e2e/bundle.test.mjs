// The package as it would be published: packed, installed into a Vite app, bundled with Vite's defaults, under a strict
// Content-Security-Policy.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { launchChromium } from "./support/browsers.mjs";
import { golden, SAMPLE, startTestHub } from "./support/models.mjs";
import { bundleAndServe } from "./support/site.mjs";

const run = promisify(execFile);
const PACKAGE = fileURLToPath(new URL("../../js", import.meta.url));
const APP = fileURLToPath(new URL("support/app", import.meta.url));
const ID = "tiny/llama-bf16-bias";
const [{ input_ids, greedy }] = golden(`${ID}/golden.json`).inputs;
const EXPECTED = [...input_ids, ...greedy.slice(0, 4)];

let folder;
let installed;
let hub;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "layerline-bundle-"));
  installed = join(folder, "node_modules/layerline");
  await cp(APP, folder, { recursive: true });
  await mkdir(installed, { recursive: true });
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: PACKAGE,
  });
  const [{ filename }] = Object.values(JSON.parse(stdout));
  await run("tar", ["-xzf", join(folder, filename), "--strip-components=1", "-C", installed]);
  hub = await startTestHub();
});
after(async () => {
  await hub.close();
  await rm(folder, { recursive: true, force: true });
});

test("the package holds what its exports name, the wasm, and no sources", async () => {
  const files = await readdir(installed, { recursive: true });
  for (const file of [
    "dist/index.js",
    "dist/index.d.ts",
    "dist/worker.js",
    "dist/hand.js",
    "wasm/engine/engine_bg.wasm",
    "wasm/text/text_bg.wasm",
    "README.md",
  ]) {
    assert.ok(files.includes(file), `${file} isn't in the package`);
  }
  assert.ok(!files.some((file) => file.startsWith("src") || file.startsWith("test")));
});

test("a Vite app runs it on the page and in its own worker, and the policy refuses nothing", async () => {
  const site = await bundleAndServe(folder);
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on("console", (message) => {
      if (/content.security.policy/i.test(message.text())) errors.push(message.text());
    });
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(site.url);
    const call = (name) =>
      page.evaluate(([name, ...args]) => globalThis[name](...args), [name, ID, hub.endpoint, input_ids, SAMPLE]);
    assert.deepEqual(await call("onThePage"), EXPECTED);
    assert.deepEqual(await call("inAWorker"), EXPECTED);
    assert.deepEqual(errors, []);
  } finally {
    await browser.close();
    await site.close();
  }
});
