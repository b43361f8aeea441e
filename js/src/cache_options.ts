import { env } from "./env.js";

const DEFAULT_DIR = "layerline";

/** Which cache. */
export interface CacheDirOptions {
  /** The name of the cache. Default: `env.cache_dir`. */
  cache_dir?: string | null;
}

/** Options of every `from_pretrained` that are about the cache. */
export interface CacheOptions extends CacheDirOptions {
  /** Nothing is asked of the endpoint; what the cache lacks rejects with NOT_CACHED. Default false. */
  local_files_only?: boolean | null;
  /** Everything is downloaded again, and replaces what the cache has. Default false. */
  force_download?: boolean | null;
}

/** The names of {@link CacheOptions}. */
export const CACHE_KEYS = ["cache_dir", "local_files_only", "force_download"] as const;

/** The cache's options in the engine's words. */
export interface EngineCacheOptions {
  use_browser_cache?: boolean;
  cache_dir?: string;
  local_files_only?: boolean;
  force_download?: boolean;
}

/** The cache's name. */
export function cache_dir(options: CacheDirOptions): string {
  return options.cache_dir || env.cache_dir || DEFAULT_DIR;
}

/** What the options and `env` say of the cache, but for what is the engine's default. Their types must have been checked. */
export function engine_cache_options(options: CacheOptions): EngineCacheOptions {
  const dir = cache_dir(options);
  return {
    ...(!env.use_browser_cache && { use_browser_cache: false }),
    ...(dir !== DEFAULT_DIR && { cache_dir: dir }),
    ...(options.local_files_only && { local_files_only: true }),
    ...(options.force_download && { force_download: true }),
  };
}
