/** Every `code` that a {@link LayerlineError} can carry: those of the engine, then those of this package. */
export const ERROR_CODES = [
  // Reaching a repo's files.
  "INVALID_REPO_ID",
  "INVALID_ENDPOINT",
  "INVALID_PATH",
  "REPO_NOT_FOUND",
  "REVISION_NOT_FOUND",
  "ENTRY_NOT_FOUND",
  "GATED_REPO",
  "DISABLED_REPO",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "RATE_LIMITED",
  "RANGE_NOT_SATISFIABLE",
  "BAD_RESPONSE",
  "FILE_CHANGED",
  "RANGES_UNSUPPORTED",
  "TOO_LARGE",
  "UNREADABLE",
  "NETWORK",
  "NOT_CACHED",
  "ABORTED",
  // The cache.
  "CACHE_BUSY",
  // What the files hold.
  "CHECKPOINT_HEADER",
  "CHECKPOINT_INDEX",
  "CHECKPOINT_MISSING_SHARD",
  "CHECKPOINT_QUANTIZED",
  "CHECKPOINT_TORCH",
  "CHECKPOINT_FLAX",
  "CHECKPOINT_NOT_FOUND",
  "MISSING_WEIGHT",
  "MISMATCHED_WEIGHT",
  "INCOMPATIBLE_KEYS",
  "CONFIG_INVALID",
  "UNSUPPORTED_CONFIG",
  "UNSUPPORTED_MODEL_TYPE",
  "UNSUPPORTED_DTYPE",
  /** A tensor whose elements don't follow one another row by row or column by column. */
  "UNSUPPORTED_ORDER",
  "UNSUPPORTED_QUANTIZATION",
  "TOKENIZER",
  "CHAT_TEMPLATE",
  // What was asked for.
  "UNSUPPORTED_OPTION",
  "INPUT_IDS",
  /** Images of another size than the model's, or for a model that reads texts. */
  "PIXEL_VALUES",
  /** A spectrogram of another size than the model's. */
  "INPUT_FEATURES",
  /** What was given as an image is none, or can't be decoded. */
  "IMAGE",
  /** Audio that can't be decoded, or with samples that are no numbers. */
  "AUDIO",
  /** Labels of another shape than the model's output, or of classes that it hasn't. */
  "LABELS",
  /** The text is longer than the positions that the model has learned. */
  "CONTEXT_LENGTH",
  /** A model without a language model head was asked for tokens. */
  "NO_HEAD",
  /** There is no pipeline for this task. */
  "UNSUPPORTED_TASK",
  // The GPU.
  "WEBGPU_UNAVAILABLE",
  "WEBGPU_REFUSED",
  "GPU_LIMIT",
  "KERNEL_COMPILE",
  "OUT_OF_MEMORY",
  "DEVICE_LOST",
  // The CPU, and where modules are.
  "CPU_OUT_OF_MEMORY",
  "CPU_REFUSED",
  "DEVICE_MAP",
  // This package.
  /** A tensor's shape, type or index doesn't fit what was asked of it. */
  "TENSOR",
  /** The model was disposed of; load it again. */
  "DISPOSED",
  /** The worker's script could not be started: not served, or refused by the page's Content-Security-Policy. */
  "WORKER_UNAVAILABLE",
  /** A .wasm file could not be fetched or compiled. */
  "WASM_UNAVAILABLE",
  /** A defect in Layerline: please report it. */
  "INTERNAL",
] as const;

/** What a {@link LayerlineError} is about; stable from release to release, so that a page can branch on it. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** The one error class of the package. `message` says what was wrong, where, and what to do. */
export class LayerlineError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    // As fetch names it, so that `error.name === "AbortError"` works for every abortable call alike.
    this.name = code === "ABORTED" ? "AbortError" : "LayerlineError";
  }
}

/** The error that an aborted call rejects with. */
export function aborted(signal?: AbortSignal): LayerlineError {
  return new LayerlineError("ABORTED", "The call was aborted by its signal.", { cause: signal?.reason });
}

/** An error as plain data: structured clone would keep the message of an Error and lose its code. */
export interface WireError {
  code: ErrorCode;
  message: string;
  stack: string | undefined;
}

const known: ReadonlySet<string> = new Set(ERROR_CODES);

function code_of(error: object): ErrorCode | undefined {
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" && known.has(code) ? (code as ErrorCode) : undefined;
}

/** What the engine, or the code around it, threw, as plain data. */
export function to_wire(error: unknown): WireError {
  if (error instanceof Error) {
    const code = code_of(error);
    if (code !== undefined) return { code, message: error.message, stack: error.stack };
    // A trap, or a code that this build of the package has never heard of: keep all that is known.
    const foreign = (error as { code?: unknown }).code;
    const prefix = typeof foreign === "string" ? `${error.name} ${foreign}` : error.name;
    return { code: "INTERNAL", message: `${prefix}: ${error.message}`, stack: error.stack };
  }
  return { code: "INTERNAL", message: String(error), stack: undefined };
}

/** The error that {@link to_wire} took apart. */
export function from_wire(wire: WireError): LayerlineError {
  const error = new LayerlineError(wire.code, wire.message);
  // The place where it happened, in the worker, says more than the place where the message arrived.
  if (wire.stack !== undefined) error.stack = wire.stack;
  return error;
}

/** Anything thrown, as a LayerlineError. */
export function as_layerline_error(error: unknown): LayerlineError {
  return error instanceof LayerlineError ? error : from_wire(to_wire(error));
}
