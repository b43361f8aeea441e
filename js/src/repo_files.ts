import { aborted, as_layerline_error } from "./errors.js";
import { check_pretrained_options, type PretrainedOptions } from "./options.js";
import { check_source, type ModelSource } from "./source.js";
import { engine } from "./wasm.js";

/** Small texts of a repo, all at one commit; undefined where it lacks a file. */
export async function read_files(
  source: ModelSource,
  paths: string[],
  options: PretrainedOptions,
): Promise<(string | undefined)[]> {
  const hub = check_pretrained_options(options);
  const { signal } = options;
  if (signal?.aborted) throw aborted(signal);
  try {
    const { read_files } = await engine();
    return await read_files(check_source(source), paths, { ...hub, ...(signal && { signal }) });
  } catch (error) {
    throw as_layerline_error(error);
  }
}
