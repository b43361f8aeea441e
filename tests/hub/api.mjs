import { createHash } from "node:crypto";
import { badRequest, entryNotFound } from "./errors.mjs";
import { sendJson } from "./send.mjs";

const PAGE = 1000;
const MAX_BODY = 1 << 20;

/** `GET /api/models/{id}` and `…/revision/{rev}`. `?blobs=true` adds sizes and hashes. */
export async function modelInfo(exchange, repo, rev, query) {
  const snapshot = await repo.snapshot(rev);
  const blobs = ["true", "1"].includes(query.get("blobs"));
  const { options, id } = repo;
  return sendJson(
    exchange,
    200,
    {},
    {
      _id: createHash("sha1").update(id).digest("hex").slice(0, 24),
      id,
      modelId: id,
      author: id.split("/")[0],
      sha: snapshot.sha,
      lastModified: snapshot.lastModified.toISOString(),
      private: options.private ?? false,
      gated: options.gated ? "manual" : false,
      disabled: false,
      tags: [],
      downloads: 0,
      likes: 0,
      siblings: [...snapshot.files.values()].map((file) => ({
        rfilename: file.path,
        ...(blobs
          ? {
              size: file.size,
              blobId: file.oid,
              ...(file.lfs
                ? { lfs: { sha256: file.lfs.oid, size: file.size, pointerSize: file.lfs.pointerSize } }
                : {}),
            }
          : {}),
      })),
    },
  );
}

/** `GET /api/models/{id}/tree/{rev}[/{folder}]`, in pages that `Link` leads through. */
export async function tree(exchange, repo, rev, folder, url) {
  const snapshot = await repo.snapshot(rev);
  const recursive = ["true", "1"].includes(url.searchParams.get("recursive"));
  const prefix = folder ? `${folder}/` : "";
  const entries = new Map();
  for (const file of snapshot.files.values()) {
    if (!file.path.startsWith(prefix)) continue;
    const parts = file.path.slice(prefix.length).split("/");
    for (let depth = 1; depth < parts.length; depth += 1) {
      if (depth === 1 || recursive) {
        const path = prefix + parts.slice(0, depth).join("/");
        entries.set(path, folderEntry(path));
      }
    }
    if (parts.length === 1 || recursive) entries.set(file.path, fileEntry(file));
  }
  if (folder && entries.size === 0) throw entryNotFound();

  const limit = Math.max(1, Math.min(PAGE, Number(url.searchParams.get("limit")) || PAGE));
  const start = Number(Buffer.from(url.searchParams.get("cursor") ?? "", "base64url").toString()) || 0;
  const headers = {};
  if (start + limit < entries.size) {
    const next = new URL(url.pathname + url.search, exchange.hub.endpoint);
    next.searchParams.set("cursor", Buffer.from(String(start + limit)).toString("base64url"));
    headers.Link = `<${next}>; rel="next"`;
  }
  return sendJson(exchange, 200, headers, [...entries.values()].slice(start, start + limit));
}

/** `POST /api/models/{id}/paths-info/{rev}`: the entries of those paths that exist. JSON or a form. */
export async function pathsInfo(exchange, repo, rev) {
  const snapshot = await repo.snapshot(rev);
  const entries = (await readPaths(exchange.request)).flatMap((path) => {
    const file = snapshot.files.get(path);
    if (file) return [fileEntry(file)];
    const isFolder = [...snapshot.files.keys()].some((other) => other.startsWith(`${path}/`));
    return isFolder ? [folderEntry(path)] : [];
  });
  return sendJson(exchange, 200, {}, entries);
}

async function readPaths(request) {
  const body = (await readBody(request)).toString();
  if (request.headers["content-type"]?.startsWith("application/x-www-form-urlencoded")) {
    return new URLSearchParams(body).getAll("paths");
  }
  try {
    const { paths } = JSON.parse(body);
    if (Array.isArray(paths) && paths.every((path) => typeof path === "string")) return paths;
  } catch {
    // Said below.
  }
  throw badRequest('"paths" must be an array of strings');
}

export async function readBody(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > MAX_BODY) throw badRequest("request body too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function fileEntry({ path, size, oid, lfs, xetHash }) {
  return { type: "file", oid, size, path, ...(lfs ? { lfs, xetHash } : {}) };
}

function folderEntry(path) {
  return { type: "directory", oid: createHash("sha1").update(path).digest("hex"), size: 0, path };
}
