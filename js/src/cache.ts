import { type CacheDirOptions, cache_dir } from "./cache_options.js";
import { as_layerline_error, LayerlineError } from "./errors.js";
import { engine } from "./wasm.js";

/** One file of a revision, or as much of it as has come. */
export interface CachedFileInfo {
  /** The path in the repo. */
  file_name: string;
  /** Bytes of it that are kept, as they lie in the browser's storage. */
  size_on_disk: number;
}

/** One commit of a repo. */
export interface CachedRevisionInfo {
  commit_hash: string;
  /** Branches and tags that were last seen at this commit. */
  refs: string[];
  size_on_disk: number;
  /** When it was last opened, in milliseconds since 1970. */
  last_accessed: number;
  files: CachedFileInfo[];
}

/** One repo of the cache. */
export interface CachedRepoInfo {
  /** e.g. "HuggingFaceTB/SmolLM2-135M-Instruct" */
  repo_id: string;
  /** The Hub or mirror that it came from. */
  endpoint: string;
  size_on_disk: number;
  nb_files: number;
  last_accessed: number;
  revisions: CachedRevisionInfo[];
}

/** What `scan_cache_dir` of huggingface_hub gives, as far as a browser has it. */
export interface HFCacheInfo {
  size_on_disk: number;
  repos: CachedRepoInfo[];
}

/** Which part of the cache to delete. */
export interface DeleteOptions {
  repo_id: string;
  /** A commit, or a branch or tag that was last seen at one. Default: every revision. */
  revision?: string | null;
  /** Default: from every endpoint. */
  endpoint?: string | null;
  cache_dir?: string | null;
}

async function layerline_errors<R>(call: () => Promise<R>): Promise<R> {
  try {
    return await call();
  } catch (error) {
    throw as_layerline_error(error);
  }
}

function repo_id({ repo_id }: DeleteOptions): string {
  if (typeof repo_id === "string" && repo_id.trim() !== "") return repo_id;
  throw new LayerlineError("INVALID_REPO_ID", `cache.delete needs a repo_id such as "org/name", not ${repo_id}.`);
}

/** What `from_pretrained` has kept in this browser, for this origin. */
export const cache = {
  /** Lists what is kept: repos, their revisions, and of each the files. */
  scan(options: CacheDirOptions = {}): Promise<HFCacheInfo> {
    return layerline_errors(async () => {
      const { scan_cache } = await engine();
      return JSON.parse(await scan_cache(cache_dir(options))) as HFCacheInfo;
    });
  },

  /** Bytes of all that is kept. */
  async size(options: CacheDirOptions = {}): Promise<number> {
    return (await cache.scan(options)).size_on_disk;
  },

  /**
   * Deletes a repo, or one revision of it. A model that is at work with it goes on: what it still needs comes over the
   * network again.
   *
   * @throws {LayerlineError} CACHE_BUSY where something of it is just being written; the rest is deleted
   */
  delete(options: DeleteOptions): Promise<void> {
    return layerline_errors(async () => {
      const { delete_cached } = await engine();
      const { endpoint, revision } = options;
      await delete_cached(cache_dir(options), repo_id(options), endpoint ?? undefined, revision ?? undefined);
    });
  },

  /**
   * Deletes everything.
   *
   * @throws {LayerlineError} CACHE_BUSY where something of it is just being written; the rest is deleted
   */
  clear(options: CacheDirOptions = {}): Promise<void> {
    return layerline_errors(async () => {
      const { clear_cache } = await engine();
      await clear_cache(cache_dir(options));
    });
  },
};
