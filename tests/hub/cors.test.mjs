import assert from "node:assert/strict";
import test from "node:test";
import { cdnUrl, hubWith, MODEL, send } from "./testing.mjs";

const PAGE = { origin: "http://page.example" };

test("the Hub echoes the origin and exposes its own headers, on errors too", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  for (const path of ["/org/model/resolve/main/config.json", "/org/none/resolve/main/x", "/api/models/org/model"]) {
    const { headers } = await send(hub.endpoint + path, { headers: PAGE });
    assert.equal(headers["access-control-allow-origin"], PAGE.origin);
    assert.match(headers.vary, /Origin/);
    const exposed = headers["access-control-expose-headers"].split(",");
    for (const name of ["X-Repo-Commit", "X-Error-Code", "X-Error-Message", "ETag", "Link", "Content-Range"]) {
      assert.ok(exposed.includes(name), name);
    }
    assert.ok(!exposed.includes("Retry-After"));
  }
});

test("the CDN allows any origin, and exposes what it is told to", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const { headers } = await send(await cdnUrl(hub, "model.safetensors"), { headers: PAGE });
  assert.equal(headers["access-control-allow-origin"], "*");
  assert.equal(headers["access-control-allow-credentials"], undefined);
  assert.match(headers["access-control-expose-headers"], /Content-Range/);

  const strict = await hubWith(t, { "org/model": MODEL }, { cdnExposeHeaders: "" });
  const answer = await send(await cdnUrl(strict, "model.safetensors"), { headers: PAGE });
  assert.equal(answer.headers["access-control-expose-headers"], undefined);
});

test("preflights", async (t) => {
  const hub = await hubWith(t, { "org/model": MODEL });
  const asked = { "access-control-request-method": "GET", "access-control-request-headers": "authorization,range" };
  for (const url of [`${hub.endpoint}/org/model/resolve/main/config.json`, await cdnUrl(hub, "model.safetensors")]) {
    const answer = await send(url, { method: "OPTIONS", headers: { ...PAGE, ...asked } });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers["access-control-allow-headers"], "authorization,range");
    assert.match(answer.headers["access-control-allow-methods"], /GET/);
    assert.ok(answer.headers["access-control-allow-origin"]);
    assert.equal(hub.log.at(-1).method, "OPTIONS");
  }
});
