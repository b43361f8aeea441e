import assert from "node:assert/strict";
import test from "node:test";
import { parseRange } from "./range.mjs";
import { cdnUrl, hubWith, MODEL, send, WEIGHTS } from "./testing.mjs";

test("parseRange", () => {
  for (const [header, size, expected] of [
    [undefined, 10, null],
    ["bytes=0-0", 10, { start: 0, end: 0 }],
    ["bytes=3-", 10, { start: 3, end: 9 }],
    ["bytes=3-99", 10, { start: 3, end: 9 }],
    ["bytes=-4", 10, { start: 6, end: 9 }],
    ["bytes=-40", 10, { start: 0, end: 9 }],
    ["bytes=-0", 10, "unsatisfiable"],
    ["bytes=10-", 10, "unsatisfiable"],
    ["bytes=0-0", 0, "unsatisfiable"],
    ["bytes=5-4", 10, null],
    ["bytes=-", 10, null],
    ["bytes=0-1,3-4", 10, null],
    ["items=0-1", 10, null],
  ]) {
    assert.deepEqual(parseRange(header, size), expected, header);
  }
});

for (const [header, start, end] of [
  ["bytes=0-99999", 0, 99_999],
  ["bytes=123-123", 123, 123],
  ["bytes=299990-", 299_990, 299_999],
  ["bytes=-7", 299_993, 299_999],
  ["bytes=299990-400000", 299_990, 299_999],
]) {
  test(`the CDN serves ${header}`, async (t) => {
    const hub = await hubWith(t, { "org/model": MODEL });
    const answer = await send(await cdnUrl(hub, "model.safetensors"), { headers: { range: header } });
    assert.equal(answer.status, 206);
    assert.equal(answer.headers["content-range"], `bytes ${start}-${end}/${WEIGHTS.length}`);
    assert.equal(answer.headers["content-length"], String(end - start + 1));
    assert.deepEqual(answer.body, WEIGHTS.subarray(start, end + 1));
    assert.equal(hub.log.at(-1).range, header);
    assert.equal(hub.log.at(-1).bytesSent, end - start + 1);
  });
}

test("a range past the end is 416 with the true size", async (t) => {
  const hub = await hubWith(t, { "org/model": { ...MODEL, "empty.bin": "" } });
  const past = await send(await cdnUrl(hub, "model.safetensors"), { headers: { range: "bytes=300000-" } });
  assert.equal(past.status, 416);
  assert.equal(past.headers["content-range"], `bytes */${WEIGHTS.length}`);
  const empty = await send(await cdnUrl(hub, "empty.bin"), { headers: { range: "bytes=0-0" } });
  assert.equal(empty.status, 416);
  assert.equal(empty.headers["content-range"], "bytes */0");
});

test("several ranges are answered with the whole file", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const answer = await send(await cdnUrl(hub, "model.safetensors"), { headers: { range: "bytes=0-1,5-6" } });
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body, WEIGHTS);
});

test("a git file is served by range too, after its redirect", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const answer = await fetch(`${hub.endpoint}/org/model/resolve/main/config.json`, { headers: { range: "bytes=2-6" } });
  assert.equal(answer.status, 206);
  assert.equal(await answer.text(), MODEL["config.json"].slice(2, 7));
});
