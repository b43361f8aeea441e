// The demo page as it is built, driven as a person would.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launchChromium } from "./support/browsers.mjs";
import { ask, layersShown, numberShown, openDemo, untilOpen } from "./support/demo.mjs";
import { SAMPLE, startTestHub } from "./support/models.mjs";
import { serve } from "./support/site.mjs";

let hub;
let site;
let browser;
let page;
const errors = [];
before(async () => {
  [hub, site, browser] = await Promise.all([
    startTestHub(),
    serve(fileURLToPath(new URL("../../www/dist", import.meta.url))),
    launchChromium(),
  ]);
});
beforeEach(async () => {
  page = await browser.newPage();
  errors.length = 0;
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (/content.security.policy/i.test(message.text())) errors.push(message.text());
  });
});
afterEach(async () => {
  await page.close();
  assert.deepEqual(errors, []);
});
after(async () => {
  await browser.close();
  await site.close();
  await hub.close();
});

test("what can't be loaded is said so, and the page goes on: loads, answers, stops, answers again", async () => {
  await openDemo(page, { url: site.url, hub: hub.endpoint, model: "nobody/nothing" });
  await assert.rejects(untilOpen(page), { code: "REPO_NOT_FOUND" });

  const last = "model-00006-of-00006.safetensors";
  hub.faults.set([{ host: "cdn", method: "GET", path: last, after: 1, status: 404 }]);
  await page.getByTestId("model").fill(SAMPLE);
  await page.getByTestId("load").click();
  await page.waitForFunction(() => document.body.dataset.phase !== "failed");
  await untilOpen(page);
  // The last layers don't come in the background, but do when the prompt reaches them.
  await page.waitForFunction(() => document.body.dataset.phase === "failed", null, { timeout: 0 });
  assert.match(await page.getByTestId("load-problem").innerText(), new RegExp(last));
  hub.faults.clear();
  const answer = await ask(page, "What is the capital of France?", { maxNewTokens: 12 });
  assert.match(answer.text, /Paris/);
  assert.ok(answer.tokens > 1 && answer.tokens <= 12);

  await page.waitForFunction(() => document.body.dataset.phase === "resident");
  assert.ok(await page.getByTestId("load-problem").isHidden());
  const layers = await layersShown(page);
  assert.ok(layers.length > 30);
  assert.ok(layers.every(({ state, device }) => state === "resident" && device === "0"));
  // What had come of the layers that failed is in the cache by then.
  const [fetched, cached] = [await numberShown(page, "fetched-bytes"), await numberShown(page, "cache-read-bytes")];
  assert.ok(fetched + cached >= (await numberShown(page, "resident-bytes")));

  await page.getByTestId("max-new-tokens").evaluate((field) => {
    field.value = "2000";
  });
  await page.getByTestId("prompt").fill("Count from one to one hundred in words.");
  await page.getByTestId("send").click();
  await page.waitForFunction(() => Number([...document.querySelectorAll(".note")].at(-1)?.dataset.tokens) >= 3, null, {
    timeout: 0,
  });
  await page.getByTestId("stop").click();
  await page.getByTestId("send").waitFor({ timeout: 0 });
  assert.match(await page.getByTestId("message-assistant").last().innerText(), /stopped/);
  const again = await ask(page, "Hello!", { maxNewTokens: 2 });
  assert.ok(again.tokens >= 1);
});

test("without WebGPU the page says so and how to get it", async () => {
  await page.addInitScript(() => {
    delete Navigator.prototype.gpu;
  });
  await page.goto(site.url);
  await page.getByTestId("no-webgpu").waitFor();
  assert.match(await page.getByTestId("no-webgpu").innerText(), /WebGPU is missing/);
  assert.ok(await page.getByTestId("load").isDisabled());
});
