import { LayerlineError } from "./errors.js";

/** A repo's files in memory, by their paths in it. */
export type RepoFiles =
  | Readonly<Record<string, Blob | ArrayBuffer | Uint8Array>>
  | ReadonlyMap<string, Blob | ArrayBuffer | Uint8Array>;

/**
 * Where a model is: a repo's id on the Hub ("org/name"); a URL under which a repo's files are; a folder that the user
 * has picked (`showDirectoryPicker()`), or its files (`<input type="file" webkitdirectory>`, drag and drop); or files
 * in memory.
 */
export type ModelSource = string | URL | FileSystemDirectoryHandle | FileList | readonly File[] | RepoFiles;

/** The source, checked to be one, in a form that the engine and a worker's port take. */
export function check_source(source: unknown): string | object {
  if (typeof source === "string" && source.trim() !== "") return source;
  if (source instanceof URL) return source.href;
  if (typeof FileSystemDirectoryHandle !== "undefined" && source instanceof FileSystemDirectoryHandle) return source;
  const files = files_of(source);
  if (files.size > 0 && [...files].every(([path, file]) => typeof path === "string" && is_content(file))) return files;
  throw new LayerlineError(
    "INVALID_REPO_ID",
    `A repo id such as "org/name" is needed, a URL, a picked folder or files, not ${describe(source)}.`,
  );
}

function is_content(file: unknown): boolean {
  return file instanceof Blob || file instanceof ArrayBuffer || file instanceof Uint8Array;
}

/** Files by their paths in the repo; none where it is something else. */
function files_of(source: unknown): Map<unknown, unknown> {
  if (source instanceof Map) return source;
  const is_list = Array.isArray(source) || (typeof FileList !== "undefined" && source instanceof FileList);
  if (is_list) return new Map(Array.from(source as Iterable<unknown>, (file) => [path_of(file), file]));
  const prototype = typeof source === "object" && source !== null ? Object.getPrototypeOf(source) : undefined;
  return new Map(prototype === Object.prototype ? Object.entries(source as object) : []);
}

/** A file's path in the folder that was picked, whose own name is the first part; a worker would not be told of it. */
function path_of(file: unknown): string | undefined {
  if (!(file instanceof File)) return undefined;
  return file.webkitRelativePath?.split("/").slice(1).join("/") || file.name;
}

function describe(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "this array" : "this object";
  return JSON.stringify(value) ?? String(value);
}

/** What messages call a source. */
export function source_name(source: string | object | null): string {
  if (typeof source === "string") return source;
  const name: unknown = source === null ? undefined : Reflect.get(source, "name");
  return typeof name === "string" && name !== "" ? name : source === null ? "a config" : "the files given";
}
