/** What loading a checkpoint came to, as transformers' `output_loading_info` gives it. */
export interface LoadingInfo {
  /** The model's weights that the checkpoint lacks; they are initialised anew. */
  missing_keys: string[];
  /** The checkpoint's tensors that the model has no place for. */
  unexpected_keys: string[];
  /** Tensors of another shape than the model's, which are initialised anew: name, checkpoint's shape, model's. */
  mismatched_keys: [name: string, checkpoint: number[], model: number[]][];
  error_msgs: string[];
}

/** What `load_sharded_checkpoint` gives back, as torch's `load_state_dict` does. */
export interface IncompatibleKeys {
  missing_keys: string[];
  unexpected_keys: string[];
}

/** As many names as fit a console's line or two. */
const SHOWN = 12;

function list(names: readonly string[]): string {
  const more = names.length > SHOWN ? `, and ${names.length - SHOWN} more` : "";
  return `[${names.slice(0, SHOWN).join(", ")}${more}]`;
}

/** transformers' warnings about what was missing, superfluous or of another shape; none if all fitted. */
export function warnings_of(info: LoadingInfo, class_name: string, source: string): string[] {
  const warnings: string[] = [];
  if (info.unexpected_keys.length > 0) {
    warnings.push(
      `Some weights of the checkpoint at ${source} were not used when initializing ${class_name}: ` +
        `${list(info.unexpected_keys)}. That is expected if the checkpoint is of a model for another task.`,
    );
  }
  const anew = [
    ...info.missing_keys,
    ...info.mismatched_keys.map(
      ([name, found, own]) => `${name} ([${found}] in the checkpoint, [${own}] in the model)`,
    ),
  ];
  if (anew.length > 0) {
    warnings.push(
      `Some weights of ${class_name} were not initialized from the model checkpoint at ${source} and are newly ` +
        `initialized: ${list(anew)}. You should probably TRAIN this model on a down-stream task to be able to use it ` +
        "for predictions and inference.",
    );
  }
  return warnings;
}
