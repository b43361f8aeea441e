import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";
import { hubWith, MODEL, send, WEIGHTS } from "./testing.mjs";

const json = async (url, options) => JSON.parse((await send(url, options)).body);
const paths = (entries) => entries.map((entry) => entry.path);

test("model info: the commit and its files, the same by ref and without", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const info = await json(`${hub.endpoint}/api/models/org/model/revision/main`);
  assert.equal(info.sha, await hub.sha("org/model"));
  assert.deepEqual(
    info.siblings.map((sibling) => sibling.rfilename),
    Object.keys(MODEL).sort(),
  );
  assert.deepEqual(await json(`${hub.endpoint}/api/models/org/model`), info);
  const withBlobs = await json(`${hub.endpoint}/api/models/org/model?blobs=true`);
  const weights = withBlobs.siblings.find((sibling) => sibling.rfilename === "model.safetensors");
  assert.equal(weights.size, WEIGHTS.length);
  assert.equal(weights.lfs.sha256, createHash("sha256").update(WEIGHTS).digest("hex"));
});

test("tree: one folder, or all of it", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const url = `${hub.endpoint}/api/models/org/model/tree/main`;
  assert.deepEqual(paths(await json(url)), [".gitattributes", "config.json", "model.safetensors", "sub"]);
  const all = await json(`${url}?recursive=true`);
  assert.deepEqual(paths(all).slice(3), ["sub", "sub/dir", "sub/dir/a b+c.txt"]);
  assert.deepEqual(
    all.map((entry) => entry.type),
    ["file", "file", "file", "directory", "directory", "file"],
  );
  assert.deepEqual(paths(await json(`${url}/sub/dir`)), ["sub/dir/a b+c.txt"]);
  assert.equal((await send(`${url}/none`)).headers["x-error-code"], "EntryNotFound");
});

test("tree: pages", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const seen = [];
  let next = `${hub.endpoint}/api/models/org/model/tree/main?recursive=true&limit=4`;
  for (let page = 0; next; page += 1) {
    const answer = await send(next);
    seen.push(...paths(JSON.parse(answer.body)));
    next = /^<([^>]+)>; rel="next"$/.exec(answer.headers.link ?? "")?.[1];
    assert.equal(next === undefined, page === 1);
  }
  assert.equal(seen.length, 6);
  assert.equal(new Set(seen).size, 6);
});

test("paths-info: those that exist, by JSON or form", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const url = `${hub.endpoint}/api/models/org/model/paths-info/main`;
  const asked = ["model.safetensors", "none", "sub"];
  const byJson = await json(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ paths: asked, expand: false }),
  });
  assert.deepEqual(paths(byJson), ["model.safetensors", "sub"]);
  assert.equal(byJson[0].size, WEIGHTS.length);
  assert.equal(byJson[0].lfs.oid, createHash("sha256").update(WEIGHTS).digest("hex"));
  const byForm = await json(url, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams(asked.map((path) => ["paths", path])).toString(),
  });
  assert.deepEqual(byForm, byJson);
  assert.equal((await send(url, { method: "POST", body: "{" })).status, 400);
});

test("what isn't there: an error in JSON", async (t) => {
  const hub = await hubWith(t, {});
  const answer = await send(`${hub.endpoint}/api/models/org/none/revision/main`);
  assert.equal(answer.status, 401);
  assert.deepEqual(JSON.parse(answer.body), { error: "Repository not found" });
  assert.equal((await send(`${hub.endpoint}/api/nothing`)).status, 404);
  assert.equal((await send(`${hub.endpoint}/org/none/resolve/main/x`, { method: "POST" })).status, 404);
});
