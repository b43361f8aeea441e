import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";
import { gunzipSync } from "node:zlib";
import { CONFIG, cdnUrl, hubWith, MODEL, send, WEIGHTS } from "./testing.mjs";

const sha256 = createHash("sha256").update(WEIGHTS).digest("hex");
const blob = createHash("sha1").update(`blob ${CONFIG.length}\0${CONFIG}`).digest("hex");

test("a git file: a relative 307 to the pinned commit, then the file", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const sha = await hub.sha("org/model");
  const first = await send(`${hub.endpoint}/org/model/resolve/main/config.json`);
  assert.equal(first.status, 307);
  assert.ok(first.headers.location.startsWith(`/api/resolve-cache/models/org/model/${sha}/config.json?`));
  assert.equal(first.headers["x-repo-commit"], sha);
  assert.equal(first.headers.etag, `"${blob}"`);

  const second = await send(hub.endpoint + first.headers.location);
  assert.equal(second.status, 200);
  assert.equal(second.headers["x-repo-commit"], sha);
  assert.equal(second.headers.etag, `"${blob}"`);
  assert.equal(second.headers["content-length"], String(CONFIG.length));
  assert.equal(second.headers["accept-ranges"], "bytes");
  assert.equal(second.body.toString(), CONFIG);
});

test("a git file is gzipped for a client that takes it: no length, a weak ETag", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const url = hub.endpoint + (await cdnUrl(hub, "config.json"));
  const headers = { "accept-encoding": "gzip" };
  const answer = await send(url, { headers });
  assert.equal(answer.headers["content-encoding"], "gzip");
  assert.equal(answer.headers["content-length"], undefined);
  assert.equal(answer.headers.etag, `W/"${blob}"`);
  assert.equal(gunzipSync(answer.body).toString(), CONFIG);
  assert.equal((await send(url, { method: "HEAD", headers })).headers["content-length"], undefined);

  const ranged = await send(url, { headers: { ...headers, range: "bytes=0-4" } });
  assert.equal(ranged.headers["content-encoding"], undefined);
  assert.equal(ranged.body.toString(), CONFIG.slice(0, 5));
});

test("an LFS file: an absolute 302 to the other origin, with what only the first hop tells", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const first = await send(`${hub.endpoint}/org/model/resolve/main/model.safetensors`);
  assert.equal(first.status, 302);
  assert.equal(new URL(first.headers.location).origin, hub.cdn);
  assert.notEqual(hub.cdn, hub.endpoint);
  assert.equal(first.headers["x-repo-commit"], await hub.sha("org/model"));
  assert.equal(first.headers["x-linked-etag"], `"${sha256}"`);
  assert.equal(first.headers["x-linked-size"], String(WEIGHTS.length));

  const second = await send(first.headers.location);
  assert.equal(second.status, 200);
  assert.deepEqual(second.body, WEIGHTS);
  assert.equal(second.headers.etag, `"${first.headers["x-xet-hash"]}"`);
  assert.notEqual(second.headers.etag, first.headers["x-linked-etag"]);
  for (const lost of ["x-repo-commit", "x-linked-etag", "x-linked-size"]) assert.equal(second.headers[lost], undefined);
});

test("which files are large: by size, *.safetensors and *.bin", async (t) => {
  const files = { "a.json": "x".repeat(100), "b.json": "x".repeat(99), "c.bin": "x", "d.safetensors": "x" };
  const hub = await hubWith(t, { "org/model": files }, { largeBytes: 100 });
  for (const [path, status] of [
    ["a.json", 302],
    ["b.json", 307],
    ["c.bin", 302],
    ["d.safetensors", 302],
  ]) {
    assert.equal((await send(`${hub.endpoint}/org/model/resolve/main/${path}`)).status, status, path);
  }
});

test("HEAD has the headers and no body", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const first = await send(`${hub.endpoint}/org/model/resolve/main/model.safetensors`, { method: "HEAD" });
  assert.equal(first.status, 302);
  assert.equal(first.headers["x-linked-size"], String(WEIGHTS.length));
  const second = await send(first.headers.location, { method: "HEAD" });
  assert.equal(second.status, 200);
  assert.equal(second.headers["content-length"], String(WEIGHTS.length));
  assert.equal(second.body.length, 0);
  assert.equal(hub.log.at(-1).bytesSent, 0);
});

test("a signed URL must be whole, fresh and used without a token", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const url = await cdnUrl(hub, "model.safetensors");
  assert.equal((await send(url.replace(/Signature=./, "Signature=!"))).status, 403);
  assert.equal((await send(url.replace(/Expires=\d/, "Expires=9"))).status, 403);
  assert.equal((await send(url.split("?")[0])).status, 403);
  assert.equal((await send(url, { headers: { authorization: "Bearer hf_x" } })).status, 400);
  assert.equal(hub.log.at(-1).authorization, true);

  const stale = await hubWith(t, { "org/model": MODEL }, { urlTtlSeconds: 0 });
  assert.equal((await send(await cdnUrl(stale, "model.safetensors"))).status, 403);
});

test("paths in folders and with odd characters", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const answer = await fetch(`${hub.endpoint}/org/model/resolve/main/sub/dir/a%20b%2Bc.txt`);
  assert.equal(await answer.text(), "deep");
});

test("nothing outside the repo can be read", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL, "org/other": { "secret.txt": "no" }, ".hidden/model": MODEL });
  for (const path of [
    "/org/model/resolve/main/..%2Fother%2Fsecret.txt",
    "/org/model/resolve/main/%2Fetc%2Fpasswd",
    "/org%2F..%2Forg/other/resolve/main/secret.txt",
    "/../resolve/main/secret.txt",
    "/.hidden/model/resolve/main/config.json",
    "/%E0%A4%A/model/resolve/main/x",
  ]) {
    const { status, body } = await send(hub.endpoint + path);
    assert.ok(status >= 400 && status < 500, `${path}: ${status}`);
    assert.notEqual(body.toString(), "no");
  }
});

test("a legacy id is redirected, for files and for the API", async (t) => {
  const hub = await hubWith(
    t,
    { "org/model": MODEL },
    { repos: { "org/model": { legacyIds: ["model", "old/name"] } } },
  );
  const first = await send(`${hub.endpoint}/model/resolve/main/config.json?download=true`);
  assert.equal(first.status, 307);
  assert.equal(first.headers.location, "/org/model/resolve/main/config.json?download=true");
  assert.equal(await (await fetch(`${hub.endpoint}/old/name/resolve/main/config.json`)).text(), CONFIG);
  const info = await (await fetch(`${hub.endpoint}/api/models/model/revision/main`)).json();
  assert.equal(info.id, "org/model");
});
