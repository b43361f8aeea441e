import { contentDisposition } from "./cdn.mjs";
import { entryNotFound } from "./errors.mjs";
import { sendFile, sendText } from "./send.mjs";

/** `/{id}/resolve/{rev}/{path}`: where the file is. */
export async function resolveFile(exchange, repo, rev, path) {
  const { snapshot, file } = await findFile(repo, rev, path);
  const headers = { "X-Repo-Commit": snapshot.sha, "Accept-Ranges": "bytes" };
  if (file.lfs) {
    const { cdn, cdnOrigin } = exchange.hub;
    const location = cdnOrigin + cdn.sign(repo.id, file);
    return sendText(
      exchange,
      302,
      {
        ...headers,
        "Content-Type": "text/plain; charset=utf-8",
        Location: location,
        "X-Linked-Size": file.size,
        "X-Linked-ETag": `"${file.lfs.oid}"`,
        "X-Xet-Hash": file.xetHash,
      },
      `Found. Redirecting to ${location}`,
    );
  }
  const asked = encodeURIComponent(new URL(exchange.request.url, "http://hub").pathname);
  const etag = encodeURIComponent(`"${file.oid}"`);
  const location = `/api/resolve-cache/models/${repo.id}/${snapshot.sha}/${encodeURIComponent(path)}?${asked}=&etag=${etag}`;
  return sendText(
    exchange,
    307,
    {
      ...headers,
      "Content-Type": "text/plain; charset=utf-8",
      Location: location,
      ETag: `"${file.oid}"`,
      "X-Linked-Size": file.size,
    },
    `Temporary Redirect. Redirecting to ${location}`,
  );
}

/** `/api/resolve-cache/models/{id}/{sha}/{path}`: a git file itself. */
export async function resolveCached(exchange, repo, sha, path) {
  const { snapshot, file } = await findFile(repo, sha, path);
  if (file.lfs) throw entryNotFound();
  const headers = {
    "X-Repo-Commit": snapshot.sha,
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Disposition": contentDisposition(file.path),
    ETag: `"${file.oid}"`,
  };
  // The cache in front compresses what is neither tiny nor huge.
  return sendFile(exchange, file, headers, { compress: file.size >= 1000 && file.size <= 10_000_000 });
}

async function findFile(repo, rev, path) {
  repo.assertReadable();
  const snapshot = await repo.snapshot(rev);
  const file = snapshot.files.get(path);
  if (!file) throw entryNotFound();
  return { snapshot, file };
}

/** The same place under the id that a legacy id has become. */
export function redirectLegacy(exchange, legacyId, id) {
  const { url } = exchange.request;
  const prefix = url.startsWith("/api/models/") ? "/api/models" : "";
  const rest = url
    .slice(prefix.length + 1)
    .split(/(?=[/?])/)
    .slice(legacyId.split("/").length);
  const location = `${prefix}/${id}${rest.join("")}`;
  const headers = { Location: location, "Content-Type": "text/plain; charset=utf-8" };
  return sendText(exchange, 307, headers, `Temporary Redirect. Redirecting to ${location}`);
}
