import type { IncompatibleKeys } from "./loading_info.js";
import type { PreTrainedModel } from "./model.js";
import { check_sharded_options, type ShardedCheckpointOptions } from "./options.js";
import { check_source, type ModelSource } from "./source.js";

/**
 * Gives a model the weights of a sharded checkpoint, as transformers' function of that name: by exactly its names.
 * They stream in as those of `from_pretrained` do.
 *
 * @returns the model's names that the checkpoint lacks, which keep their weights, and the checkpoint's that are left out
 * @throws {LayerlineError} CHECKPOINT_NOT_FOUND where there is no index; INCOMPATIBLE_KEYS where `strict` (the default)
 *   and the names aren't the same; MISMATCHED_WEIGHT for another shape. The model then keeps all its weights.
 */
export async function load_sharded_checkpoint(
  model: Pick<PreTrainedModel<unknown>, "load_sharded">,
  folder: ModelSource,
  options: ShardedCheckpointOptions = {},
): Promise<IncompatibleKeys> {
  const { strict = true, prefer_safe = true, signal } = options;
  const hub = check_sharded_options(options);
  const asked = { ...hub, strict: strict ?? true, prefer_safe: prefer_safe ?? true };
  return model.load_sharded(check_source(folder), asked, signal ?? undefined);
}
