import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { badToken, disabled, gated, repoNotFound, revisionNotFound } from "./errors.mjs";

const NAME = /^[A-Za-z0-9][\w.-]*$/;

/** The repos under a root folder and those given by options: ids, refs, commits, files, and who may read them. */
export class Repos {
  #root;
  #options;
  #largeBytes;
  #tokens;
  #byId = new Map();

  constructor({ root, repos = {}, tokens = [], largeBytes = 10 << 20 }) {
    this.#root = resolve(root);
    this.#options = repos;
    this.#largeBytes = largeBytes;
    this.#tokens = new Set([...tokens, ...Object.values(repos).flatMap((repo) => repo.tokens ?? [])]);
  }

  /** The id that a legacy id has become, or undefined. */
  movedTo(id) {
    return Object.keys(this.#options).find((key) => this.#options[key].legacyIds?.includes(id));
  }

  /** The repo, for this Authorization header. Throws what the Hub answers where there is none to see. */
  async open(id, authorization) {
    const token = this.#token(authorization);
    const repo = await this.#find(id);
    if (!repo) throw repoNotFound(token === undefined);
    const granted = token !== undefined && (repo.options.tokens ?? []).includes(token);
    if (repo.options.private && !granted) throw repoNotFound(token === undefined);
    if (repo.options.disabled) throw disabled();
    // A gated repo's metadata is public: only its files are kept back.
    const assertReadable = () => {
      if (repo.options.gated && !granted) throw gated(id, token === undefined);
    };
    return { id, options: repo.options, assertReadable, snapshot: (rev) => this.#snapshot(repo, rev) };
  }

  /** Points a ref at the files in another folder, as a push does. The old commit stays reachable by its sha. */
  async push(id, ref, path) {
    const repo = await this.#find(id);
    if (!repo) throw new Error(`no repo ${id}`);
    await this.#snapshot(repo, ref).catch(() => undefined); // so that the old commit is known
    repo.refs.set(ref, this.#folder(path));
    return (await this.#snapshot(repo, ref)).sha;
  }

  async sha(id, rev) {
    const repo = await this.#find(id);
    if (!repo) throw new Error(`no repo ${id}`);
    return (await this.#snapshot(repo, rev)).sha;
  }

  #token(authorization) {
    if (authorization === undefined) return undefined;
    const token = /^Bearer (.+)$/.exec(authorization)?.[1];
    if (!this.#tokens.has(token)) throw badToken();
    return token;
  }

  #folder(path) {
    return resolve(this.#root, path);
  }

  async #find(id) {
    const known = this.#byId.get(id);
    if (known) return known;
    const [org, name, more] = id.split("/");
    if (more !== undefined || !NAME.test(org) || !NAME.test(name ?? "")) return undefined;
    const options = this.#options[id] ?? {};
    const main = options.path === undefined ? join(this.#root, org, name) : this.#folder(options.path);
    if (!(await isFolder(main))) return undefined;
    const refs = new Map([["main", main]]);
    for (const [ref, target] of Object.entries(options.refs ?? {})) {
      refs.set(ref, this.#folder(target));
    }
    const repo = { options, refs, snapshots: new Map() };
    this.#byId.set(id, repo);
    return repo;
  }

  async #snapshot(repo, rev) {
    const folder = repo.refs.get(rev);
    if (folder !== undefined) {
      // One promise a folder: requests that come together share the hashing.
      if (!repo.snapshots.has(folder)) repo.snapshots.set(folder, readSnapshot(folder, this.#largeBytes));
      return repo.snapshots.get(folder);
    }
    if (/^[0-9a-f]{40}$/.test(rev)) {
      for (const other of repo.refs.keys()) await this.#snapshot(repo, other);
      for (const snapshot of await Promise.all(repo.snapshots.values())) if (snapshot.sha === rev) return snapshot;
    }
    throw revisionNotFound(rev);
  }
}

async function isFolder(path) {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

/** A commit: its sha, which follows from the files' paths and contents alone, and its files by path. */
async function readSnapshot(folder, largeBytes) {
  const files = new Map();
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .sort();
  for (const path of paths) files.set(path, await describe(folder, path, largeBytes));
  const sha = createHash("sha1");
  for (const file of files.values()) sha.update(`${file.oid} ${file.path}\n`);
  const lastModified = new Date(Math.max(0, ...[...files.values()].map((file) => file.modified)));
  return { sha: sha.digest("hex"), files, lastModified };
}

async function describe(folder, path, largeBytes) {
  const source = join(folder, path);
  const { size, mtimeMs } = await stat(source);
  const file = { path, source, size, modified: mtimeMs };
  if (size < largeBytes && !/\.(safetensors|bin)$/.test(path)) {
    const blob = createHash("sha1").update(`blob ${size}\0`);
    await pipeline(createReadStream(source), blob);
    return { ...file, oid: blob.digest("hex") };
  }
  const content = createHash("sha256");
  await pipeline(createReadStream(source), content);
  const sha256 = content.digest("hex");
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`;
  return {
    ...file,
    oid: createHash("sha1").update(`blob ${pointer.length}\0${pointer}`).digest("hex"),
    lfs: { oid: sha256, size, pointerSize: pointer.length },
    // The real one is a Merkle hash of chunks; to a client it is 64 opaque digits other than the sha256.
    xetHash: createHash("sha256").update(`xet ${sha256}`).digest("hex"),
  };
}
