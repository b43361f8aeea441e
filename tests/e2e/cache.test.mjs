// The cache as a page sees it: a second visit, offline, listed and deleted from the page while a worker has the model,
// and what happens where the browser gives no more room.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { openEnvironment } from "./support/environments.mjs";
import { startTestHub } from "./support/models.mjs";

const MODEL = "tiny/llama-bf16-bias";

let hub;
let environment;
before(async () => {
  hub = await startTestHub();
  environment = await openEnvironment("chromium");
});
beforeEach(async () => {
  hub.faults.clear();
  await environment.run(async ({ cache, env }) => {
    env.use_browser_cache = true;
    await cache.clear();
  });
  hub.log.length = 0;
});
after(async () => {
  await environment.close();
  await hub.close();
});

/** Loads the model whole, and gives the ids that it makes and what it took. */
const visit = (options) =>
  environment.run(
    async ({ AutoModelForCausalLM }, { id, ...options }) => {
      const model = await AutoModelForCausalLM.from_pretrained(id, options);
      try {
        await model.ready();
        const output = await model.generate({ input_ids: [1, 2, 3], max_new_tokens: 4, do_sample: false });
        return { ids: Array.from(output.data, Number), stats: await model.stats() };
      } finally {
        await model.dispose();
      }
    },
    { id: MODEL, endpoint: hub.endpoint, ...options },
  );

const requests = () => hub.log.filter(({ method }) => method !== "OPTIONS").map(({ path }) => path);
const fails = (code) => (error) => error.code === code;

test("a second visit asks for the revision alone, and a full commit for nothing", async () => {
  const first = await visit();
  assert.ok(first.stats.cache_written_bytes > 0 && first.stats.requests > 5);
  hub.log.length = 0;
  const second = await visit();
  assert.deepEqual(second.ids, first.ids);
  assert.equal(second.stats.requests, 1);
  assert.equal(requests().length, 1);
  assert.match(requests()[0], /\/revision\/main$/);
  hub.log.length = 0;
  const third = await visit({ revision: await hub.sha(MODEL) });
  assert.deepEqual([third.ids, third.stats.fetched_bytes, requests()], [first.ids, 0, []]);
});

test("local files are used without the network, and what is missing is said", async () => {
  await assert.rejects(visit({ local_files_only: true }), fails("NOT_CACHED"));
  const { ids } = await visit();
  hub.faults.set([{ destroy: true }]);
  hub.log.length = 0;
  assert.deepEqual((await visit({ local_files_only: true })).ids, ids);
  assert.deepEqual(requests(), []);
  // Offline, the branch is what it was.
  assert.deepEqual((await visit()).ids, ids);
  await assert.rejects(visit({ cache_dir: "another" }), fails("NETWORK"));
});

test("a forced download takes everything again; without the cache nothing is kept", async () => {
  const { stats } = await visit();
  const forced = await visit({ force_download: true });
  assert.equal(forced.stats.fetched_bytes, stats.fetched_bytes);
  const kept = await environment.run(async ({ cache, env }) => {
    await cache.clear();
    env.use_browser_cache = false;
    return cache.size();
  });
  await visit();
  assert.equal(await environment.run(({ cache }) => cache.size()), kept);
});

test("the page lists and deletes what its workers have kept", async () => {
  const before = Date.now();
  await visit();
  const info = await environment.run(({ cache }) => cache.scan());
  assert.deepEqual(
    info.repos.map(({ repo_id, endpoint }) => [repo_id, endpoint]),
    [[MODEL, hub.endpoint]],
  );
  const [{ revisions, last_accessed }] = info.repos;
  assert.deepEqual([revisions.length, revisions[0].refs], [1, ["main"]]);
  assert.equal(revisions[0].commit_hash, await hub.sha(MODEL));
  assert.ok(last_accessed >= before - 1000 && last_accessed <= Date.now() + 1000);
  const files = revisions[0].files.map(({ file_name }) => file_name);
  assert.ok(files.includes("config.json") && files.includes("model-00001-of-00005.safetensors"), files.join());
  assert.equal(await environment.run(({ cache }) => cache.size()), info.size_on_disk);
  await environment.run(({ cache }) => cache.delete({ repo_id: "tiny/llama-f32" }));
  assert.equal(await environment.run(({ cache }) => cache.size()), info.size_on_disk);
  await environment.run(({ cache }, repo_id) => cache.delete({ repo_id, revision: "main" }), MODEL);
  assert.deepEqual(await environment.run(({ cache }) => cache.scan()), { size_on_disk: 0, repos: [] });
});

test("where the browser gives no more room the model loads all the same", async () => {
  await environment.limitStorage(100_000);
  const { ids, stats } = await visit();
  await environment.limitStorage(undefined);
  assert.ok(stats.cache_written_bytes < stats.fetched_bytes, JSON.stringify(stats));
  const again = await visit();
  assert.deepEqual(again.ids, ids);
});
