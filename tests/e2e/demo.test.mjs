// The demo page as it is built, driven as a person would.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launchChromium } from "./support/browsers.mjs";
import {
  ask,
  layersShown,
  numberShown,
  openDemo,
  setBudget,
  tiersShown,
  untilOpen,
  untilPlaced,
} from "./support/demo.mjs";
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

test("half of the GPU: the map shows where the rest is, and the model says the same; no room is said so", async () => {
  const question = "What is the capital of France?";
  const askAnew = async () => {
    await page.getByRole("button", { name: "New chat" }).click();
    return ask(page, question, { maxNewTokens: 6 });
  };
  await openDemo(page, { url: site.url, hub: hub.endpoint, model: SAMPLE });
  await untilOpen(page);
  const whole = await ask(page, question, { maxNewTokens: 6 });
  assert.match(whole.text, /Paris/);
  await page.waitForFunction(() => document.body.dataset.phase === "resident", null, { timeout: 0 });
  const total = await numberShown(page, "resident-bytes");
  const before = await tiersShown(page);
  assert.deepEqual([before.gpu.bytes, before.cpu.bytes, before.disk.bytes], [total, 0, 0]);
  assert.match(await page.getByTestId("budget-bytes").innerText(), /^all/);

  await setBudget(page, 50);
  assert.match(await page.getByTestId("budget-bytes").innerText(), /^50 %, 135 MB of 269 MB$/);
  // From the cache: the network is only asked whether the branch has moved.
  assert.ok((await numberShown(page, "fetched-bytes")) < 10_000);
  assert.equal(await page.getByTestId("message-user").count(), 1);
  const half = await tiersShown(page);
  assert.ok(half.gpu.bytes > 0.3 * total && half.gpu.bytes <= total / 2, String(half.gpu.bytes));
  assert.deepEqual([half.gpu.bytes + half.cpu.bytes, half.disk.bytes], [total, 0]);
  assert.match(half.cpu.words.join(), /^C\s*CPU memory,\d+,1\d\d MB,1\d\d MB$/);
  const shown = await layersShown(page);
  assert.deepEqual([...new Set(shown.map(({ device }) => device))], ["0", "cpu"]);
  assert.ok(shown.every(({ state }) => state === "resident"));
  assert.equal(shown.at(-2).label, "model.layers.29: 7.08 MB in CPU memory");
  assert.equal((await askAnew()).text, whole.text);

  // On disk: there already, since all has come once; and in memory one at a time, while they are used.
  await page.getByTestId("offload-to").selectOption({ label: "on disk" });
  await untilPlaced(page);
  const stored = await tiersShown(page);
  assert.deepEqual([stored.gpu.bytes, stored.cpu.bytes, stored.disk.bytes], [half.gpu.bytes, 0, half.cpu.bytes]);
  const label = "model.layers.29: 7.08 MB on disk, comes for each pass";
  assert.deepEqual((await layersShown(page)).at(-2), { ...shown.at(-2), device: "disk", label });
  const passing = page.locator("[data-testid=layers] [data-device=disk][data-state=passing]").first().waitFor();
  assert.equal((await askAnew()).text, whole.text);
  await passing;
  await page.waitForFunction(() => document.querySelector("[data-testid=layers] [data-state=passing]") === null);
  assert.equal(await numberShown(page, "resident-bytes"), half.gpu.bytes);

  // While an answer is written: that stops, and stays.
  await page.getByTestId("max-new-tokens").evaluate((field) => {
    field.value = "2000";
  });
  await page.getByTestId("prompt").fill("Count from one to one hundred in words.");
  await page.getByTestId("send").click();
  await page.waitForFunction(() => Number([...document.querySelectorAll(".note")].at(-1)?.dataset.tokens) >= 2, null, {
    timeout: 0,
  });
  await assert.rejects(setBudget(page, 10), { code: "DEVICE_MAP", message: /30 %.*CPU memory/s });
  assert.match(await page.getByTestId("message-assistant").last().innerText(), /stopped/);
  assert.ok(await page.getByTestId("send").isDisabled());

  await page.getByTestId("offload-to").selectOption({ label: "in CPU memory" });
  await untilPlaced(page);
  const tenth = await tiersShown(page);
  assert.deepEqual([tenth.gpu.bytes + tenth.cpu.bytes, tenth.disk.bytes], [total, 0]);
  assert.ok(tenth.gpu.bytes <= total / 10);
  assert.equal((await askAnew()).text, whole.text);
});

test("without WebGPU the page says so and how to get it, and the model runs on the CPU", async () => {
  const without = await launchChromium({ webgpu: false });
  try {
    const page = await without.newPage();
    await openDemo(page, { url: site.url, hub: hub.endpoint, model: SAMPLE, device: "auto" });
    assert.match(await page.getByTestId("no-webgpu").innerText(), /WebGPU is missing/);
    await untilOpen(page);
    assert.match((await ask(page, "What is the capital of France?", { maxNewTokens: 8 })).text, /Paris/);
    const { gpu, cpu, disk } = await tiersShown(page);
    assert.deepEqual([gpu.bytes, cpu.bytes > 0, disk.bytes], [0, true, 0]);
    assert.ok((await layersShown(page)).every(({ state, device }) => state === "resident" && device === "cpu"));
    assert.ok(await page.getByTestId("budget").isHidden());
  } finally {
    await without.close();
  }
});

test("where WebGPU is a program on the CPU, the CPU computes, unless WebGPU is asked for", async () => {
  await openDemo(page, { url: site.url, hub: hub.endpoint, model: SAMPLE, device: "auto" });
  await untilOpen(page);
  assert.match(await page.getByTestId("no-webgpu").innerText(), /SwiftShader.* is a program on the CPU/i);
  assert.ok(await page.getByTestId("budget").isHidden());
  assert.match((await ask(page, "What is the capital of France?", { maxNewTokens: 8 })).text, /Paris/);
  assert.ok((await layersShown(page)).every(({ device }) => device === "cpu"));

  await page.getByTestId("device").evaluate((select) => {
    select.value = "webgpu";
  });
  await page.getByTestId("load").click();
  await page.waitForFunction(() => document.body.dataset.phase !== "resident");
  await untilOpen(page);
  assert.ok(await page.getByTestId("no-webgpu").isHidden());
  assert.ok(await page.getByTestId("budget").isVisible());
  assert.ok((await layersShown(page)).every(({ device }) => device === "0"));

  // And the CPU alone, with fewer bits a weight.
  const dense = (await layersShown(page))[1].bytes;
  for (const [field, value] of [
    ["device", "cpu"],
    ["dtype", "q4"],
  ]) {
    await page.getByTestId(field).evaluate((select, value) => {
      select.value = value;
    }, value);
  }
  await page.getByTestId("load").click();
  await page.waitForFunction(() => document.body.dataset.phase !== "resident");
  await untilOpen(page);
  assert.ok(await page.getByTestId("budget").isHidden());
  assert.match((await ask(page, "What is the capital of France?", { maxNewTokens: 8 })).text, /Paris/);
  const layers = await layersShown(page);
  assert.ok(layers.every(({ device }) => device === "cpu"));
  assert.ok(layers[1].bytes < dense / 3, `${layers[1].bytes} of ${dense}`);
});
