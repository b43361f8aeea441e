// Drives the demo page by its data-testid attributes.

/** Opens the page for a model, and starts loading it; a GPU that is a program on the CPU stands for a real one. */
export async function openDemo(page, { url, hub, model, device = "webgpu" }) {
  await page.goto(`${url}?${new URLSearchParams({ endpoint: hub, model, device })}`);
  await page.waitForSelector("body[data-started]");
  await page.getByTestId("load").click();
}

/** Waits until a prompt can be sent; an error on the page is thrown. */
export async function untilOpen(page) {
  await page.waitForFunction(() => ["streaming", "resident", "failed"].includes(document.body.dataset.phase), null, {
    timeout: 0,
  });
  await throwProblem(page, "load-problem");
}

/**
 * Sends a prompt and waits for the answer.
 *
 * @param onText gets each piece of text as it appears
 * @returns {{text, tokens, firstTokenMs, tokensPerSecond}} tokensPerSecond is undefined for a single token
 */
export async function ask(page, prompt, { maxNewTokens, onText = () => {} } = {}) {
  if (maxNewTokens !== undefined) {
    // The field is in a closed disclosure.
    await page.getByTestId("max-new-tokens").evaluate((field, n) => {
      field.value = n;
    }, String(maxNewTokens));
  }
  await page.getByTestId("prompt").fill(prompt);
  await page.getByTestId("send").click();
  let shown = 0;
  for (let busy = true; busy; ) {
    busy = await page.evaluate(() => document.body.dataset.busy === "true");
    const answer = await page.evaluate(() => {
      const last = [...document.querySelectorAll("[data-testid=message-assistant]")].at(-1);
      return last?.querySelector(".text").textContent ?? "";
    });
    onText(answer.slice(shown));
    shown = answer.length;
    if (busy) await page.waitForTimeout(50);
  }
  await throwProblem(page, "chat-problem");
  return page
    .getByTestId("message-assistant")
    .last()
    .evaluate((message) => {
      const note = message.querySelector(".note");
      const number = (value) => (value === undefined ? undefined : Number(value));
      return {
        text: message.querySelector(".text").textContent,
        tokens: Number(note.dataset.tokens),
        firstTokenMs: Number(note.dataset.firstTokenMs),
        tokensPerSecond: number(note.dataset.tokensPerSecond),
      };
    });
}

/** The map, as `{name, state, device, bytes, label}`. */
export function layersShown(page) {
  return page.locator("[data-testid=layers] .cell").evaluateAll((cells) =>
    cells.map(({ dataset: { name, state, device, bytes }, ariaLabel }) => ({
      name,
      state,
      device,
      bytes: Number(bytes),
      label: ariaLabel,
    })),
  );
}

/** Moves the slider "GPU budget" by its keys, and waits for what comes of it. */
export async function setBudget(page, percent) {
  await page.getByTestId("budget").press("Home");
  for (let at = 0; at < percent; at += 5) await page.getByTestId("budget").press("ArrowRight");
  await untilPlaced(page);
}

/** Waits until the model has been placed anew; that it can't be is thrown. */
export async function untilPlaced(page) {
  await page.waitForFunction(() => document.body.dataset.phase === "opening", null, { timeout: 0 });
  await page.waitForFunction(() => ["resident", "failed"].includes(document.body.dataset.phase), null, { timeout: 0 });
  await throwProblem(page, "budget-problem");
}

/** The legend's totals: of each tier its bytes, and its row's words. */
export async function tiersShown(page) {
  const rows = await page.locator("[data-testid=tiers] tr").evaluateAll((rows) =>
    rows.map((row) => ({
      tier: row.dataset.testid.replace("tier-", ""),
      bytes: Number(row.dataset.bytes),
      words: [...row.cells].map((cell) => cell.innerText),
    })),
  );
  return Object.fromEntries(rows.map(({ tier, ...row }) => [tier, row]));
}

/** A number of the panel "Memory and network", by its test id. */
export async function numberShown(page, id) {
  return Number(await page.getByTestId(id).getAttribute("data-value"));
}

async function throwProblem(page, id) {
  const panel = page.getByTestId(id);
  if (!(await panel.isVisible())) return;
  const code = await panel.getAttribute("data-code");
  throw Object.assign(new Error(await panel.innerText()), { code });
}
