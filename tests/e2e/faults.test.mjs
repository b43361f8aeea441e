// Every fault of a connection × where it strikes: the model comes all the same, or a typed error does; either way nothing
// wrong is left in the cache, and the next visit has the model.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { syntheticRepo } from "../../benches/synthetic.mjs";
import { startHub } from "../hub/server.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { coverage, shardReads } from "./support/ranges.mjs";

const MODEL = "synthetic/tiny";
const SHARD_BYTES = 500_000;
/** What the network may have brought that a stream had not yet read when it broke. */
const CHUNK_BYTES = 1 << 16;
/** Faults that are waited for: in the meantime others are tried. */
const AT_ONCE = 6;

const shard = (n) => `model-0000${n}-of-`;
const isHeader = ({ range }) => range?.startsWith("bytes=0-");
const PLACES = {
  "the first header": (request) => request.file?.startsWith(shard(1)) && isHeader(request),
  "the first shard": (request) => request.file?.startsWith(shard(1)) && !isHeader(request),
  "the last shard": (request) => request.file?.startsWith(shard(4)) && !isHeader(request),
};

/** What strikes, and the code of the error that it ends in; without one the model comes. */
const FAULTS = {
  "a timeout (408)": { rule: { status: 408, times: 1 } },
  "too many requests (429)": { rule: { status: 429, headers: { "Retry-After": "2" }, times: 2 } },
  "a bad gateway (502)": { rule: { status: 502, times: 2 } },
  "the hub down for a while (503)": { rule: { host: "hub", status: 503, times: 2 } },
  "the hub down for good (503)": { rule: { host: "hub", status: 503 }, code: "BAD_RESPONSE" },
  "a connection closed before the answer": { rule: { destroy: true, times: 2 } },
  "a connection that drops": { rule: { dropAfter: 40_000, times: 2 } },
  "a connection that drops each time": { rule: { dropAfter: 0 }, code: "NETWORK" },
  "a connection that stalls": { rule: { stallAfter: 40_000, times: 1 } },
  "a slow link": { rule: { throttle: 200_000 } },
  "more bytes than were asked for": { rule: { beyond: 10_000 } },
  "fewer bytes than were asked for": { rule: { maxRange: 60_000, times: 1 } },
  "a length that is too short": { rule: { headers: { "Content-Length": 40_000 }, times: 1 } },
  "no length, and a body cut short": { rule: { headers: { "Content-Length": null }, dropAfter: 40_000, times: 1 } },
  "a server that ignores ranges": { rule: { ignoreRange: true } },
  "a Content-Range of other bytes": { rule: { contentRange: "bytes 7-999/500000" }, code: "BAD_RESPONSE" },
  "a signed URL that has expired": { rule: { status: 403, times: 1 } },
  "a signed URL that is refused": { rule: { status: 403 }, code: "FORBIDDEN" },
  "a file that has changed": { rule: { headers: { ETag: '"another"' }, times: 1 }, code: "FILE_CHANGED" },
  "a file cut short": { rule: { truncate: 50_000 }, code: { header: "CHECKPOINT_HEADER", body: "FILE_CHANGED" } },
  "a file that has gone": {
    rule: { host: "hub", status: 404, headers: { "X-Error-Code": "EntryNotFound" } },
    code: { header: "CHECKPOINT_MISSING_SHARD", body: "ENTRY_NOT_FOUND" },
  },
};

let repo;
let environment;
let expected;

/** What a test runs in the page to load the model from a hub of its own, and to give what it computes. */
async function load({ load_sharded_checkpoint }, { id, endpoint, slot }, { models }) {
  // On a software GPU kernels take seconds to compile: a model that has them takes one set of weights after another.
  const model = models[slot];
  // The head is the embedding, and so not in the files.
  await load_sharded_checkpoint(model, id, { endpoint, strict: false });
  await model.ready();
  const { logits } = await model.forward({ input_ids: [1, 2, 3], logits_to_keep: 1 });
  return Array.from(logits.data);
}

const free = Array.from({ length: AT_ONCE }, (_, slot) => slot);

async function visit(hub) {
  const slot = free.pop();
  try {
    return await environment.run(load, { id: MODEL, endpoint: hub.endpoint, slot });
  } finally {
    free.push(slot);
  }
}

/** A hub of a test's own, closed when it ends. */
async function openHub(t) {
  const hub = await startHub({ root: "/nonexistent", repos: { [MODEL]: { path: repo.path } } });
  t?.after(() => hub.close());
  return hub;
}

before(async () => {
  repo = await syntheticRepo("tiny", SHARD_BYTES);
  environment = await openEnvironment("chromium");
  await environment.run(
    async ({ AutoModelForCausalLM, env }, { config, count }, state) => {
      env.use_browser_cache = true;
      state.models = await Promise.all(Array.from({ length: count }, () => AutoModelForCausalLM.from_config(config)));
    },
    { config: repo.config, count: AT_ONCE },
  );
  const hub = await openHub();
  expected = await visit(hub);
  await hub.close();
});
after(async () => {
  await environment.close();
  await repo.remove();
});

/** Bytes of shards that were sent more than once. */
function sentTwice(log) {
  const sent = shardReads(log).map(({ file, start, bytesSent }) => ({ file, start, end: start + bytesSent }));
  const whole = [...new Set(sent.map(({ file }) => file))].map((file) => ({ file, start: 0, end: Infinity }));
  return coverage(sent, whole).twice;
}

const weights = (log) => log.filter(({ file, method }) => method === "GET" && file?.endsWith(".safetensors"));

describe("a fault", { concurrency: AT_ONCE }, () => {
  for (const [fault, { rule, code }] of Object.entries(FAULTS)) {
    for (const [place, when] of Object.entries(PLACES)) {
      const ends = typeof code === "object" ? code[place.endsWith("header") ? "header" : "body"] : code;
      test(`${fault}, in ${place}: ${ends ?? "survived"}`, async (t) => {
        const hub = await openHub(t);
        let struck = 0;
        const counted = (request) => when(request) && ++struck > 0;
        hub.faults.set([{ host: "cdn", method: "GET", ...rule, when: counted }]);
        const got = await visit(hub).catch((error) => error);
        assert.ok(struck > 0, "nothing struck");
        assert.equal(got.code, ends, got.message);
        if (!ends) {
          assert.deepEqual(got, expected);
          if (rule.dropAfter) assert.ok(sentTwice(hub.log) <= CHUNK_BYTES * rule.times, `${sentTwice(hub.log)} bytes`);
        }
        hub.faults.clear();
        hub.log.length = 0;
        assert.deepEqual(await visit(hub), expected);
        if (!ends) assert.deepEqual(weights(hub.log), []);
      });
    }
  }
});

test("an abort ends every request within a second, and what had come is kept", async (t) => {
  const hub = await openHub(t);
  hub.faults.set([{ host: "cdn", method: "GET", when: (request) => !isHeader(request), throttle: 30_000 }]);
  await environment.run(
    async ({ AutoModelForCausalLM }, { id, endpoint }, state) => {
      state.controller = new AbortController();
      state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, signal: state.controller.signal });
    },
    { id: MODEL, endpoint: hub.endpoint },
  );
  const loading = environment.run((_, __, { model }) => model.ready().catch(({ code }) => code));
  while (hub.log.reduce((sum, { bytesSent }) => sum + bytesSent, 0) < 800_000) await sleep(20);
  await environment.run((_, __, { controller }) => controller.abort());
  const began = Date.now();
  assert.equal(await loading, "ABORTED");
  while (hub.log.some(({ done }) => done === "open")) await sleep(10);
  assert.ok(Date.now() - began < 1000, `${Date.now() - began} ms`);
  const first = hub.log.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  hub.faults.clear();
  hub.log.length = 0;
  await sleep(500);
  assert.deepEqual(hub.log, []);
  assert.deepEqual(await visit(hub), expected);
  // Each stream that was cut off has at most a chunk to fetch again.
  const again = weights(hub.log).reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  assert.ok(first + again < repo.bytes + 16 * CHUNK_BYTES, `${first} bytes, then ${again} of ${repo.bytes}`);
});
