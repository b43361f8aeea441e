import { readdirSync, readFileSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startHub } from "../../hub/server.mjs";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The sample model that `cargo xtask` makes. */
export const SAMPLE = "layerline/SmolLM2-135M-Instruct-dq4";
export const MODELS = at("../../../.cache/models");
export const GOLDENS = at("../../goldens");
export const TINY = join(GOLDENS, "tiny");
/** The tiny checkpoints of tests/goldens, by name. */
const TINY_NAMES = readdirSync(TINY);

/** A golden of tests/goldens. */
export function golden(path) {
  return JSON.parse(readFileSync(join(GOLDENS, path), "utf8"));
}

/** A file of the sample model. */
export function sampleFile(name) {
  return readFileSync(join(MODELS, SAMPLE, name));
}

/** A hub with the sample model, the tiny checkpoints as `tiny/NAME`, and other repos by id. */
export function startTestHub(repos = {}) {
  const tiny = Object.fromEntries(TINY_NAMES.map((name) => [`tiny/${name}`, { path: join(TINY, name) }]));
  return startHub({ root: MODELS, largeBytes: 1 << 20, repos: { ...tiny, ...repos } });
}

/**
 * Copies of a tiny checkpoint with something wrong.
 *
 * @param spoil gets a copy's folder, and changes it
 */
export async function spoiltRepos(base, spoil) {
  const folder = await mkdtemp(join(tmpdir(), "layerline-repos-"));
  const repos = {};
  for (const [name, change] of Object.entries(spoil)) {
    const path = join(folder, name);
    await cp(join(TINY, base), path, { recursive: true });
    await change(path);
    repos[`spoilt/${name}`] = { path };
  }
  return { repos, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Rewrites a JSON file of a folder. */
export async function editJson(folder, name, edit) {
  const file = join(folder, name);
  const value = JSON.parse(readFileSync(file, "utf8"));
  await writeFile(file, JSON.stringify(edit(value) ?? value));
}
