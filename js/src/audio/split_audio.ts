import { refuse_option } from "../refuse.js";

export interface SplitOptions {
  /** Samples a second. */
  sampling_rate: number;
  /** Seconds of a part. Default 0: all audio is one part. */
  chunk_length_s?: number;
  /** Seconds by which parts overlap, before and after what is theirs alone. Default a sixth of `chunk_length_s`. */
  stride_length_s?: number | readonly [number, number] | null;
}

/** A part of longer audio. */
export interface AudioChunk {
  /** Views of the whole's. */
  samples: Float32Array;
  /** Seconds: of the part; of those, what it has in common with the part before; and with the one after. */
  stride: [length: number, left: number, right: number];
}

/**
 * Audio as overlapping parts, as transformers' pipeline cuts it.
 *
 * @throws {LayerlineError} UNSUPPORTED_OPTION where a length is no number of seconds, or the overlaps leave nothing of a part
 */
export function split_audio(samples: Float32Array, options: SplitOptions): AudioChunk[] {
  const { sampling_rate, chunk_length_s = 0 } = options;
  if (!(chunk_length_s >= 0 && chunk_length_s < Number.POSITIVE_INFINITY)) {
    refuse_option("chunk_length_s", chunk_length_s, "It must be a number of seconds; 0 for all in one part.");
  }
  if (chunk_length_s === 0) return [{ samples, stride: [samples.length / sampling_rate, 0, 0] }];

  const given = options.stride_length_s ?? chunk_length_s / 6;
  const seconds = typeof given === "number" ? ([given, given] as const) : given;
  const [length, left, right] = [chunk_length_s, seconds[0], seconds[1]].map((s) => half_even(s * sampling_rate)) as [
    number,
    number,
    number,
  ];
  const step = length - left - right;
  if (!(left >= 0 && right >= 0 && step > 0)) {
    refuse_option("stride_length_s", options.stride_length_s, "Both together must be less than chunk_length_s.");
  }
  const chunks: AudioChunk[] = [];
  for (let start = 0; start < samples.length; start += step) {
    const part = samples.subarray(start, start + length);
    const is_last = start + length >= samples.length;
    const [before, after] = [start === 0 ? 0 : left, is_last ? 0 : right];
    const stride = [part.length, before, after].map((count) => count / sampling_rate) as AudioChunk["stride"];
    // What the part before has had already is no part.
    if (part.length > before) chunks.push({ samples: part, stride });
    if (is_last) break;
  }
  return chunks;
}

/** To the nearest integer, halves to the even one, as Python rounds. */
function half_even(value: number): number {
  const down = Math.floor(value);
  if (value - down !== 0.5) return Math.round(value);
  return down % 2 === 0 ? down : down + 1;
}
