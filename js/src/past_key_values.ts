import { LayerlineError } from "./errors.js";

/**
 * The tokens that a model has read, to be gone on from: what transformers' cache is to its caller. Their keys and values stay on the
 * device, of the last text that ran; those of another are read again when it is gone on with.
 */
export class DynamicCache {
  /** @internal The ids of each text of a batch, without padding. */
  readonly texts: readonly Uint32Array[];

  /** @internal */
  constructor(texts: readonly Uint32Array[]) {
    this.texts = texts;
  }

  /** How many tokens there are; of several texts, of the longest. */
  get_seq_length(): number {
    return Math.max(0, ...this.texts.map((text) => text.length));
  }
}

/** The texts of a cache that was given, one for each of `count` that go on. */
export function past_of(given: unknown, count: number): readonly Uint32Array[] | undefined {
  if (given == null) return undefined;
  if (!(given instanceof DynamicCache)) {
    throw new LayerlineError("INPUT_IDS", "past_key_values must be what an earlier output has by this name.");
  }
  const { texts } = given;
  if (texts.length !== count) {
    throw new LayerlineError("INPUT_IDS", `past_key_values are of ${texts.length} texts, and ${count} go on.`);
  }
  return texts;
}

/** What is read, and behind it what comes. */
export function joined(past: Uint32Array, ids: Uint32Array): Uint32Array {
  const all = new Uint32Array(past.length + ids.length);
  all.set(past);
  all.set(ids, past.length);
  return all;
}
