import assert from "node:assert/strict";
import { request } from "node:http";
import test from "node:test";
import { CONFIG, cdnUrl, hubWith, MODEL, send, WEIGHTS } from "./testing.mjs";

const RANGE = { headers: { range: "bytes=1000-200999" } };
const ASKED = WEIGHTS.subarray(1000, 201_000);

async function cdnWith(t, ...rules) {
  const hub = await hubWith(t, { "org/model": MODEL });
  hub.faults.set(rules);
  return { hub, url: await cdnUrl(hub, "model.safetensors") };
}

test("status, with headers and body, and what it leaves alone", async (t) => {
  const rule = { host: "cdn", status: 503, headers: { "Retry-After": "1" }, body: "later", times: 1 };
  const { url } = await cdnWith(t, rule);
  const failed = await send(url);
  assert.equal(failed.status, 503);
  assert.equal(failed.headers["retry-after"], "1");
  assert.equal(failed.headers["access-control-allow-origin"], "*");
  assert.equal(failed.body.toString(), "later");
  assert.equal((await send(url)).status, 200);
});

test("a status without CORS", async (t) => {
  const { url } = await cdnWith(t, { host: "cdn", status: 500, cors: false });
  assert.equal((await send(url)).headers["access-control-allow-origin"], undefined);
});

test("nth, after, path and method choose the request", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const status = async (path, method) =>
    (await send(`${hub.endpoint}/org/model/resolve/main/${path}`, { method })).status;
  hub.faults.set([{ path: "config", nth: 2, status: 500 }]);
  assert.deepEqual([await status("config.json"), await status("model.safetensors")], [307, 302]);
  assert.deepEqual([await status("config.json"), await status("config.json")], [500, 307]);
  hub.faults.set([{ path: /\.safetensors$/, after: 1, method: "HEAD", status: 500 }]);
  assert.deepEqual([await status("model.safetensors", "HEAD"), await status("model.safetensors")], [302, 302]);
  assert.deepEqual([await status("model.safetensors", "HEAD"), await status("config.json", "HEAD")], [500, 307]);
  hub.faults.clear();
  assert.equal(await status("model.safetensors", "HEAD"), 302);
});

test("destroy closes the connection unanswered", async (t) => {
  const { url } = await cdnWith(t, { host: "cdn", destroy: true });
  await assert.rejects(send(url), { code: "ECONNRESET" });
});

test("dropAfter sends exactly so many bytes", async (t) => {
  for (const count of [0, 1, 70_000, 199_999]) {
    const { hub, url } = await cdnWith(t, { host: "cdn", dropAfter: count });
    const answer = await send(url, RANGE);
    assert.equal(answer.status, 206);
    assert.equal(answer.aborted, true);
    assert.deepEqual(answer.body, ASKED.subarray(0, count));
    assert.equal(hub.log.at(-1).bytesSent, count);
    assert.equal(hub.log.at(-1).done, "aborted");
  }
});

test("stallAfter sends so many bytes and then nothing, until the client goes", async (t) => {
  const { hub, url } = await cdnWith(t, { host: "cdn", stallAfter: 1234 });
  await new Promise((gone) => {
    const out = request(url, RANGE, (response) => {
      let length = 0;
      response.on("error", () => {});
      response.on("close", gone);
      response.on("data", (chunk) => {
        length += chunk.length;
        if (length === 1234) {
          assert.equal(hub.log.at(-1).done, "open");
          out.destroy();
        }
      });
    });
    out.on("error", () => {});
    out.end();
  });
  assert.equal(hub.log.at(-1).bytesSent, 1234);
});

test("throttle and delay lose nothing", async (t) => {
  const { url } = await cdnWith(t, { host: "cdn", throttle: 2_000_000, delay: 20 });
  assert.deepEqual((await send(url, RANGE)).body, ASKED);
});

test("ignoreRange: 200 and all of it", async (t) => {
  const { url } = await cdnWith(t, { host: "cdn", ignoreRange: true });
  const answer = await send(url, RANGE);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers["content-range"], undefined);
  assert.deepEqual(answer.body, WEIGHTS);
});

test("contentRange: a wrong header on the true bytes", async (t) => {
  const { url } = await cdnWith(t, { host: "cdn", contentRange: "bytes 0-199999/300000" });
  const answer = await send(url, RANGE);
  assert.equal(answer.status, 206);
  assert.equal(answer.headers["content-range"], "bytes 0-199999/300000");
  assert.deepEqual(answer.body, ASKED);
});

test("headers: on the true answer, or left off it", async (t) => {
  const { url } = await cdnWith(t, {
    host: "cdn",
    headers: { ETag: '"other"', "Content-Length": 200_001, "Accept-Ranges": null },
    dropAfter: 200_000,
  });
  const answer = await send(url, RANGE);
  assert.equal(answer.headers.etag, '"other"');
  assert.equal(answer.headers["content-length"], "200001");
  assert.equal(answer.headers["accept-ranges"], undefined);
  assert.equal(answer.aborted, true);
  assert.deepEqual(answer.body, ASKED);
});

test("hang: no answer, until the client goes", async (t) => {
  const { hub, url } = await cdnWith(t, { host: "cdn", hang: true });
  await assert.rejects(fetch(url, { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  while (hub.log.at(-1).done === "open") await new Promise((soon) => setTimeout(soon, 5));
  assert.equal(hub.log.at(-1).status, null);
});

test("beyond: more bytes than Content-Range says", async (t) => {
  const { url } = await cdnWith(t, { host: "cdn", beyond: 10 });
  const answer = await send(url, RANGE);
  assert.equal(answer.headers["content-range"], "bytes 1000-200999/300000");
  assert.deepEqual(answer.body, WEIGHTS.subarray(1000, 201_010));
});

test("maxRange: less than was asked for, said so", async (t) => {
  const { url } = await cdnWith(t, { host: "cdn", maxRange: 500 });
  const answer = await send(url, RANGE);
  assert.equal(answer.headers["content-range"], "bytes 1000-1499/300000");
  assert.deepEqual(answer.body, WEIGHTS.subarray(1000, 1500));
});

test("truncate: a shorter file, consistently", async (t) => {
  const { url } = await cdnWith(t, { host: "cdn", truncate: 100_000 });
  assert.deepEqual((await send(url)).body, WEIGHTS.subarray(0, 100_000));
  const ranged = await send(url, RANGE);
  assert.equal(ranged.headers["content-range"], "bytes 1000-99999/100000");
  assert.equal((await send(url, { headers: { range: "bytes=100000-" } })).status, 416);
});

test("faults and the log over HTTP, for pages", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const put = (body) => send(`${hub.endpoint}/__faults`, { method: "PUT", body });
  assert.equal((await put('[{"path": "config.json", "status": 500}]')).status, 204);
  const url = `${hub.endpoint}/org/model/resolve/main/config.json`;
  assert.equal((await send(url)).status, 500);
  assert.equal((await send(`${hub.endpoint}/__faults`, { method: "DELETE" })).status, 204);
  assert.equal(await (await fetch(url)).text(), CONFIG);
  assert.equal((await put("{}")).status, 400);
  assert.equal((await put("[")).status, 400);

  const log = JSON.parse((await send(`${hub.endpoint}/__log`)).body);
  assert.deepEqual(
    log.map(({ method, host, file, status }) => [method, host, file, status]),
    [
      ["GET", "hub", "config.json", 500],
      ["GET", "hub", "config.json", 307],
      ["GET", "hub", "config.json", 200],
    ],
  );
  assert.deepEqual(log, JSON.parse(JSON.stringify(hub.log)));
  await send(`${hub.endpoint}/__log`, { method: "DELETE" });
  assert.equal(hub.log.length, 0);
});
