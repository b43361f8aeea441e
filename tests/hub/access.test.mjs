import assert from "node:assert/strict";
import test from "node:test";
import { cdnUrl, hubWith, send, WEIGHTS } from "./testing.mjs";

const FILES = { "config.json": "{}", "model.safetensors": WEIGHTS };
const OPTIONS = {
  tokens: ["hf_other"],
  repos: {
    "org/gated": { gated: true, tokens: ["hf_granted"] },
    "org/private": { private: true, tokens: ["hf_granted"] },
    "org/disabled": { disabled: true },
  },
};
const FOLDERS = { "org/model": FILES, "org/gated": FILES, "org/private": FILES, "org/disabled": FILES };
const bearer = (token) => (token ? { headers: { authorization: `Bearer ${token}` } } : {});

for (const [id, path, token, status, code, message] of [
  ["org/none", "config.json", undefined, 401, "RepoNotFound", /Repository not found/],
  ["org/none", "config.json", "hf_other", 404, "RepoNotFound", /Repository not found/],
  ["org/model", "config.json", undefined, 307],
  ["org/model", "config.json", "hf_other", 307],
  ["org/model", "config.json", "hf_wrong", 401, undefined, /Invalid credentials in Authorization header/],
  ["org/model", "none.json", undefined, 404, "EntryNotFound", /Entry not found/],
  ["org/gated", "config.json", undefined, 401, "GatedRepo", /Access to model org\/gated is restricted/],
  ["org/gated", "config.json", "hf_other", 403, "GatedRepo", /not in the authorized list/],
  ["org/gated", "config.json", "hf_granted", 307],
  ["org/private", "config.json", undefined, 401, "RepoNotFound", /Repository not found/],
  ["org/private", "config.json", "hf_other", 404, "RepoNotFound", /Repository not found/],
  ["org/private", "config.json", "hf_granted", 307],
  ["org/disabled", "config.json", undefined, 403, undefined, /^Access to this resource is disabled\.$/],
]) {
  test(`${id}/${path} with ${token ?? "no token"}: ${status} ${code ?? ""}`, async (t) => {
    const hub = await hubWith(t, FOLDERS, OPTIONS);
    for (const method of ["GET", "HEAD"]) {
      const answer = await send(`${hub.endpoint}/${id}/resolve/main/${path}`, { method, ...bearer(token) });
      assert.equal(answer.status, status);
      assert.equal(answer.headers["x-error-code"], code);
      if (message) assert.match(answer.headers["x-error-message"], message);
      assert.equal(hub.log.at(-1).authorization, token !== undefined);
    }
  });
}

test("a gated repo tells what it has, and keeps the cached way shut too", async (t) => {
  const hub = await hubWith(t, FOLDERS, OPTIONS);
  const info = await (await fetch(`${hub.endpoint}/api/models/org/gated/revision/main`)).json();
  assert.equal(info.gated, "manual");
  const open = await send(`${hub.endpoint}/org/gated/resolve/main/config.json`, bearer("hf_granted"));
  assert.equal((await send(hub.endpoint + open.headers.location)).status, 401);
  assert.equal((await send(hub.endpoint + open.headers.location, bearer("hf_granted"))).body.toString(), "{}");
});

test("fetch leaves the token behind when it is sent to the CDN", async (t) => {
  const hub = await hubWith(t, FOLDERS, OPTIONS);
  const url = `${hub.endpoint}/org/private/resolve/main/model.safetensors`;
  const answer = await fetch(url, { headers: { authorization: "Bearer hf_granted", range: "bytes=0-3" } });
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), WEIGHTS.subarray(0, 4));
  assert.deepEqual(
    hub.log.map(({ host, authorization }) => [host, authorization]),
    [
      ["hub", true],
      ["cdn", false],
    ],
  );
  assert.equal((await send(await cdnUrl(hub, "model.safetensors"))).status, 200);
});
