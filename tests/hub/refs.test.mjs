import assert from "node:assert/strict";
import test from "node:test";
import { hubWith, send } from "./testing.mjs";

const FOLDERS = {
  "org/model": { "config.json": "main", "w.bin": "1" },
  two: { "config.json": "branch" },
  three: { "config.json": "tag" },
  four: { "config.json": "pull request" },
};
const REPOS = { "org/model": { refs: { dev: "two", "v1.0": "three", "refs/pr/1": "four" } } };

const read = async (hub, rev) => (await fetch(`${hub.endpoint}/org/model/resolve/${rev}/config.json`)).text();

test("branches, tags, pull requests and commits", async (t) => {
  const hub = await hubWith(t, FOLDERS, { repos: REPOS });
  const contents = { main: "main", dev: "branch", "v1.0": "tag", "refs%2Fpr%2F1": "pull request" };
  for (const [rev, content] of Object.entries(contents)) {
    assert.equal(await read(hub, rev), content);
    const info = await (await fetch(`${hub.endpoint}/api/models/org/model/revision/${rev}`)).json();
    assert.match(info.sha, /^[0-9a-f]{40}$/);
    assert.equal(info.sha, await hub.sha("org/model", decodeURIComponent(rev)));
    assert.equal(await read(hub, info.sha), content);
  }
});

test("a commit's sha follows from its contents alone", async (t) => {
  const files = { "a.json": "1", "b.bin": "2" };
  const one = await hubWith(t, { "org/model": files, "other/name": files, "third/name": { ...files, "b.bin": "3" } });
  const two = await hubWith(t, { "org/model": files });
  const sha = await one.sha("org/model");
  assert.equal(await one.sha("other/name"), sha);
  assert.equal(await two.sha("org/model"), sha);
  assert.notEqual(await one.sha("third/name"), sha);
});

test("a push moves the branch; the old commit stays", async (t) => {
  const hub = await hubWith(t, FOLDERS, { repos: REPOS });
  const before = await hub.sha("org/model");
  const after = await hub.push("org/model", "main", "four");
  assert.notEqual(after, before);
  assert.equal(await read(hub, "main"), "pull request");
  assert.equal(await read(hub, before), "main");
});

test("an unknown revision", async (t) => {
  const hub = await hubWith(t, FOLDERS, { repos: REPOS });
  for (const rev of ["nope", "refs%2Fpr%2F2", "0".repeat(40)]) {
    for (const path of [`/org/model/resolve/${rev}/config.json`, `/api/models/org/model/revision/${rev}`]) {
      const answer = await send(hub.endpoint + path);
      assert.equal(answer.status, 404);
      assert.equal(answer.headers["x-error-code"], "RevisionNotFound");
      assert.equal(answer.headers["x-error-message"], `Invalid rev id: ${decodeURIComponent(rev)}`);
    }
  }
});
