import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { startHub } from "./server.mjs";

/** Every byte differs from its neighbours, so that a range off by one can't pass. */
export const WEIGHTS = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
export const CONFIG = JSON.stringify({ model_type: "llama", padding: "x".repeat(2000) });
export const MODEL = {
  "config.json": CONFIG,
  "model.safetensors": WEIGHTS,
  "sub/dir/a b+c.txt": "deep",
  ".gitattributes": "",
};

/** Starts a hub over a temporary folder with these repos (`{folder: {path: content}}`); both go when the test ends. */
export async function hubWith(t, folders, options = {}) {
  const root = await mkdtemp(join(tmpdir(), "layerline-hub-"));
  for (const [folder, files] of Object.entries(folders)) {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(root, folder, path)), { recursive: true });
      await writeFile(join(root, folder, path), content);
    }
  }
  const hub = await startHub({ root, ...options });
  t.after(async () => {
    await hub.close();
    await rm(root, { recursive: true });
  });
  return hub;
}

/** One request with none of fetch's own redirects, headers and decoding. A body that is cut short has `aborted`. */
export function send(url, { method = "GET", headers = {}, body } = {}) {
  return new Promise((answered, failed) => {
    const out = request(url, { method, headers }, (response) => {
      const chunks = [];
      const answer = (aborted) =>
        answered({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks), aborted });
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => answer(false));
      response.on("error", () => answer(true));
    });
    out.on("error", failed);
    out.end(body);
  });
}

/** The signed URL of an LFS file. */
export async function cdnUrl(hub, path, rev = "main", id = "org/model") {
  return (await send(`${hub.endpoint}/${id}/resolve/${rev}/${path}`)).headers.location;
}
