#!/usr/bin/env node
// Asks the demo page one question in headless Chromium, and prints the answer as it streams and what it cost.
import { parseArgs } from "node:util";
import { launchChromium } from "./support/browsers.mjs";
import { ask, layersShown, numberShown, openDemo, untilOpen } from "./support/demo.mjs";

const { values } = parseArgs({
  options: {
    page: { type: "string" },
    hub: { type: "string" },
    model: { type: "string" },
    prompt: { type: "string" },
    "max-new-tokens": { type: "string", default: "64" },
  },
});
const { page: url, hub, model, prompt } = values;
if (!url || !hub || !model || !prompt) {
  console.error(
    "usage: node tests/e2e/headless-demo.mjs --page URL --hub URL --model ID --prompt TEXT [--max-new-tokens N]",
  );
  process.exit(2);
}

const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

const browser = await launchChromium();
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  await openDemo(page, { url, hub, model });
  await untilOpen(page);
  console.error(`${model} is open; asking`);
  const maxNewTokens = Number(values["max-new-tokens"]);
  const answer = await ask(page, prompt, { maxNewTokens, onText: (text) => process.stdout.write(text) });
  console.log("\n");

  const speed = answer.tokensPerSecond === undefined ? "" : `, ${answer.tokensPerSecond.toFixed(2)} tokens/s`;
  console.log(`first token    ${(answer.firstTokenMs / 1000).toFixed(2)} s (the layers came meanwhile)`);
  console.log(`answer         ${answer.tokens} tokens${speed}`);
  console.log(
    `fetched        ${mb(await numberShown(page, "fetched-bytes"))} in ${await numberShown(page, "requests")} requests`,
  );
  const peak = async (id) => `at most ${mb(await numberShown(page, id))}`;
  console.log(`GPU memory     ${mb(await numberShown(page, "gpu-bytes"))}, ${await peak("peak-gpu-bytes")}`);
  console.log(`staging        ${await peak("peak-staging-bytes")}; wasm memory ${await peak("wasm-memory-bytes")}`);
  console.log(
    `adapter        ${await page.getByTestId("adapter").innerText()}: ${await page.getByTestId("kernels").innerText()}`,
  );
  console.log("layers");
  for (const { name, state, device, bytes } of await layersShown(page)) {
    const where = Number.isNaN(Number(device)) ? device : `GPU ${device}`;
    console.log(`  ${name.padEnd(24)} ${mb(bytes).padStart(9)}  ${where}${state === "resident" ? "" : `, ${state}`}`);
  }
} catch (error) {
  console.error(`the demo failed: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
