import { createHmac, randomBytes } from "node:crypto";
import { HubError } from "./errors.mjs";
import { sendFile } from "./send.mjs";

/** The second origin: content-addressed files behind signed URLs that expire. It knows no repos and wants no tokens. */
export class Cdn {
  #secret = randomBytes(32);
  #files = new Map();
  #ttlSeconds;

  constructor(ttlSeconds) {
    this.#ttlSeconds = ttlSeconds;
  }

  /** Path and query of a signed URL for an LFS file. */
  sign(repoId, file) {
    const path = `/xet-bridge-us/${createHmac("md5", "repo").update(repoId).digest("hex")}/${file.lfs.oid}`;
    this.#files.set(path, file);
    const expires = Math.floor(Date.now() / 1000) + this.#ttlSeconds;
    const query = new URLSearchParams({
      "response-content-disposition": contentDisposition(file.path),
      Expires: String(expires),
      Signature: this.#signature(path, expires),
      "Key-Pair-Id": "LOOPBACK",
    });
    return `${path}?${query}`;
  }

  /** The repo path of the file behind a URL, for the log. */
  fileAt(path) {
    return this.#files.get(path)?.path ?? null;
  }

  async answer(exchange, url) {
    const { request } = exchange;
    const expires = Number(url.searchParams.get("Expires"));
    const signed = url.searchParams.get("Signature") === this.#signature(url.pathname, expires);
    const file = this.#files.get(url.pathname);
    if (request.method !== "GET" && request.method !== "HEAD") throw new HubError(405, undefined, "Method not allowed");
    // A signed URL and a token are two ways of proving who asks, and the storage takes only one.
    if (request.headers.authorization) throw new HubError(400, undefined, "Only one auth mechanism allowed");
    if (!signed || !file || Date.now() / 1000 >= expires) throw new HubError(403, undefined, "Access denied");
    return sendFile(exchange, file, {
      "Content-Type": "application/octet-stream",
      "Content-Disposition": contentDisposition(file.path),
      "Cache-Control": "public, max-age=31536000",
      ETag: `"${file.xetHash}"`,
    });
  }

  #signature(path, expires) {
    return createHmac("sha256", this.#secret).update(`${path} ${expires}`).digest("base64url");
  }
}

export function contentDisposition(path) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return `inline; filename*=UTF-8''${encodeURIComponent(name)}; filename="${name.replace(/[^\x20-\x7e]|["\\]/g, "_")}";`;
}
