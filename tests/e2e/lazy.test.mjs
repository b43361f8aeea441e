// What is fetched when, read from the hub's log: kilobytes to open a model, then layers in forward order, or as needed.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openEnvironment } from "./support/environments.mjs";
import { MODELS, SAMPLE, sampleFile, startTestHub } from "./support/models.mjs";
import { coverage, partsTouched, shardReads, tensorsOf } from "./support/ranges.mjs";

const tensors = tensorsOf(join(MODELS, SAMPLE));
const { num_hidden_layers: blocks } = JSON.parse(sampleFile("config.json"));
/** A header is asked for by its first 100 kB, as the Hub's own clients do, and tensors begin within them. */
const HEADER_READ = 100_001;
const SHARDS = new Set(tensors.map(({ file }) => file)).size;
/** Requests under way at once: the hub may hear of those in another order than they were sent in. */
const STREAMS = 6;

let hub;
let environment;
before(async () => {
  hub = await startTestHub();
  environment = await openEnvironment("chromium");
});
afterEach(async () => {
  hub.faults.clear();
  await environment.run(async (_, __, state) => {
    await state.model?.dispose();
    state.model = undefined;
  });
  hub.log.length = 0;
});
after(async () => {
  await environment.close();
  await hub.close();
});

const open = (options) =>
  environment.run(
    async ({ AutoModelForCausalLM }, { id, ...options }, state) => {
      state.events = [];
      const progress_callback = (event) => state.events.push(event);
      state.model = await AutoModelForCausalLM.from_pretrained(id, { ...options, progress_callback });
    },
    { id: SAMPLE, endpoint: hub.endpoint, ...options },
  );

const states = () => environment.run(async (_, __, { model }) => (await model.layers()).map(({ state }) => state));

/** Reads of weights: those that go beyond a header's first read. */
const weightReads = () => shardReads(hub.log).filter(({ start, end }) => start > 0 || end > HEADER_READ);

const sent = () => hub.log.reduce((sum, { bytesSent }) => sum + bytesSent, 0);

/** Waits until a condition holds; the runner's own limit is what ends it otherwise. */
async function until(condition) {
  while (!(await condition())) await sleep(50);
}

/** Waits until nothing has been asked for over a while. */
async function untilQuiet() {
  for (let last = -1; last !== hub.log.length; ) {
    last = hub.log.length;
    await sleep(2000);
  }
}

/** The parts of the model that have been asked for, in the order of their first requests. */
const partsInOrder = () => [...new Set(weightReads().flatMap((read) => [...partsTouched(read, tensors, blocks)]))];

function assertFetchedOnce() {
  const { twice, never } = coverage(shardReads(hub.log), tensors);
  assert.equal(never, 0);
  // A header's first read runs into the first tensors, whose bytes it may drop.
  assert.ok(twice <= SHARDS * HEADER_READ, `${twice} bytes came twice`);
}

/** Whether a request asks for bytes of any of these tensors, beyond a header's first read. */
function reads({ file, range }, wanted) {
  const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "")?.map(Number) ?? [];
  return end >= HEADER_READ && wanted.some((t) => t.file === file && start < t.end && t.start <= end);
}

test("opening takes kilobytes; without prefetch nothing more comes until an input does", async () => {
  await open({ prefetch: false });
  await untilQuiet();
  assert.deepEqual(weightReads(), []);
  assert.ok(sent() < 200_000 + SHARDS * HEADER_READ, `${sent()} bytes were sent`);
  assert.ok((await states()).every((state) => state === "absent"));
});

test("without prefetch a layer is fetched when an input reaches it, and not before", async () => {
  await open({ prefetch: false });
  // A block in the middle whose bytes never arrive: what lies behind it is then not reached.
  const stuck = 1 + (blocks >> 1);
  const inside = tensors.filter(({ name }) => name.includes(`.layers.${stuck - 1}.`));
  hub.faults.set([{ host: "cdn", method: "GET", when: (request) => reads(request, inside), stallAfter: 0 }]);
  await environment.run((_, __, { model }) => {
    model.forward({ input_ids: [1, 2, 3] }).catch(() => {});
  });
  await until(() => partsInOrder().includes(stuck));
  await untilQuiet();
  const parts = partsInOrder();
  assert.deepEqual(
    parts,
    Array.from({ length: stuck + 1 }, (_, part) => part),
  );
  const now = await states();
  assert.equal(now.filter((state) => state === "resident").length, stuck);
});

test("without prefetch one input brings all that it needs, each byte once", async () => {
  await open({ prefetch: false });
  const dims = await environment.run(async (_, __, { model }) => {
    const { logits } = await model.forward({ input_ids: [1, 2, 3], logits_to_keep: 1 });
    return logits.dims;
  });
  assert.deepEqual(dims, [1, 1, 49152]);
  assert.ok((await states()).every((state) => state === "resident"));
  assertFetchedOnce();
});

test("with prefetch layers come in forward order, each byte once, and ready waits for all", async () => {
  await open({ prefetch: true });
  const { events, layers, stats } = await environment.run(async (_, __, state) => {
    await state.model.ready();
    return { events: state.events, layers: await state.model.layers(), stats: await state.model.stats() };
  });
  const parts = partsInOrder();
  assert.deepEqual(
    [...parts].sort((a, b) => a - b),
    Array.from({ length: blocks + 2 }, (_, part) => part),
  );
  for (const [place, part] of parts.entries()) {
    assert.ok(Math.abs(place - part) < STREAMS, `part ${part} is asked for in place ${place}: ${parts}`);
  }
  assertFetchedOnce();
  assert.ok(layers.every(({ state, bytes, resident_bytes }) => state === "resident" && bytes === resident_bytes));

  const totals = events.filter(({ status }) => status === "progress_total");
  const last = totals.at(-1);
  assert.equal(last.loaded, last.total);
  assert.equal(last.progress, 100);
  assert.ok(totals.every(({ loaded }, i) => i === 0 || loaded >= totals[i - 1].loaded));
  assert.equal(events.filter(({ status }) => status === "ready").length, 1);
  const files = new Set(events.filter(({ status }) => status === "progress").map(({ file }) => file));
  assert.ok([...new Set(tensors.map(({ file }) => file))].every((file) => files.has(file)));
  assert.ok(stats.peak_staging_bytes <= 64_000_000, `${stats.peak_staging_bytes} bytes lay in memory at once`);
});

test("a layer that can't be fetched is an error, and comes when it is asked for again", async () => {
  await open({ prefetch: false });
  // The embedding takes several requests: some of them succeed, and are made again.
  hub.faults.set([{ host: "cdn", method: "GET", path: tensors[0].file, after: 2, status: 404 }]);
  const error = await environment.run((_, __, { model }) =>
    model.ready().then(
      () => undefined,
      ({ code, message }) => ({ code, message }),
    ),
  );
  assert.equal(error.code, "ENTRY_NOT_FOUND");
  assert.ok(error.message.includes("model.embed_tokens"), error.message);
  hub.faults.clear();
  const { layers, last } = await environment.run(async (_, __, { model, events }) => {
    await model.ready();
    return { layers: await model.layers(), last: events.findLast(({ status }) => status === "progress_total") };
  });
  assert.ok(layers.every(({ state, bytes, resident_bytes }) => state === "resident" && bytes === resident_bytes));
  assert.equal(last.loaded, last.total);
});

test("an abort ends the loading in the background", async () => {
  hub.faults.set([{ host: "cdn", path: ".safetensors", after: SHARDS, throttle: 200_000 }]);
  const error = await environment.run(
    async ({ AutoModelForCausalLM }, { id, endpoint }, state) => {
      const controller = new AbortController();
      state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, signal: controller.signal });
      controller.abort();
      return state.model.ready().then(
        () => undefined,
        ({ name, code }) => ({ name, code }),
      );
    },
    { id: SAMPLE, endpoint: hub.endpoint },
  );
  assert.deepEqual(error, { name: "AbortError", code: "ABORTED" });
  await untilQuiet();
  assert.ok(hub.log.every(({ done }) => done !== "open"));
});
