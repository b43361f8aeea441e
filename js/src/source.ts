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

function is_plain_object(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function are_files(source: object): boolean {
  if (typeof FileList !== "undefined" && source instanceof FileList) return true;
  if (typeof FileSystemDirectoryHandle !== "undefined" && source instanceof FileSystemDirectoryHandle) return true;
  if (Array.isArray(source)) return source.length > 0 && source.every((file) => file instanceof File);
  const entries = source instanceof Map ? [...source] : is_plain_object(source) ? Object.entries(source) : [];
  return (
    entries.length > 0 &&
    entries.every(
      ([path, file]) =>
        typeof path === "string" && (file instanceof Blob || file instanceof ArrayBuffer || file instanceof Uint8Array),
    )
  );
}

/** The source, checked to be one, in a form that the engine and a worker's port take. */
export function check_source(source: unknown): string | object {
  if (typeof source === "string" && source.trim() !== "") return source;
  if (source instanceof URL) return source.href;
  if (typeof source === "object" && source !== null && are_files(source)) return source;
  throw new LayerlineError(
    "INVALID_REPO_ID",
    `A repo id such as "org/name" is needed, a URL, a picked folder or files, not ${describe(source)}.`,
  );
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
