import type { EngineArray, EngineModule, HubOptions } from "./engine.js";
import { aborted, as_layerline_error } from "./errors.js";
import { check_pretrained_options, type PretrainedOptions } from "./options.js";
import { check_source, type ModelSource } from "./source.js";
import { engine } from "./wasm.js";

type Options = HubOptions & { signal?: AbortSignal };

/** Small texts of a repo, all at one commit; undefined where it lacks a file. */
export function read_files(
  source: ModelSource,
  paths: string[],
  options: PretrainedOptions,
): Promise<(string | undefined)[]> {
  return reading(options, (engine, hub) => engine.read_files(check_source(source), paths, hub));
}

/** Which of a repo's checkpoint files are meant. */
export interface CheckpointOptions {
  variant?: string;
  use_safetensors?: boolean;
}

/** A small tensor of a repo's checkpoint as float32; undefined where there is none of that name. */
export function read_tensor(
  source: ModelSource,
  name: string,
  { variant, use_safetensors, ...options }: PretrainedOptions & CheckpointOptions,
): Promise<EngineArray | undefined> {
  const checkpoint = {
    ...(variant !== undefined && { variant }),
    ...(use_safetensors !== undefined && { use_safetensors }),
  };
  return reading(options, (engine, hub) => engine.read_tensor(check_source(source), name, { ...hub, ...checkpoint }));
}

async function reading<R>(
  options: PretrainedOptions,
  read: (engine: EngineModule, hub: Options) => Promise<R>,
): Promise<R> {
  const hub = check_pretrained_options(options);
  const { signal } = options;
  if (signal?.aborted) throw aborted(signal);
  try {
    return await read(await engine(), { ...hub, ...(signal && { signal }) });
  } catch (error) {
    throw as_layerline_error(error);
  }
}
