import { describe, expect, test } from "vitest";
import { split_audio } from "../../src/audio/split_audio.js";
import { code_of, golden } from "./golden.js";

const RATE = 16_000;

describe("split_audio", () => {
  test("cuts as transformers does", () => {
    expect(golden.chunks.length).toBeGreaterThan(8);
    for (const { samples, chunks, ...lengths } of golden.chunks) {
      const audio = new Float32Array(samples);
      const parts = split_audio(audio, { sampling_rate: RATE, ...lengths });
      const found = parts.map(({ samples: part, stride }) => [
        part.byteOffset / 4,
        ...stride.map((seconds) => Math.round(seconds * RATE)),
      ]);
      expect(found).toEqual(chunks);
      for (const { samples: part, stride } of parts) {
        expect(part.buffer === audio.buffer).toBe(true);
        expect(part.length).toBe(Math.round(stride[0] * RATE));
      }
    }
  });

  test("leaves audio whole where no length is given", () => {
    const audio = new Float32Array(40 * RATE);
    const [whole, ...others] = split_audio(audio, { sampling_rate: RATE });
    expect(others).toEqual([]);
    // Not compared number by number.
    expect(whole?.samples === audio).toBe(true);
    expect(whole?.stride).toEqual([40, 0, 0]);
    expect(split_audio(audio, { sampling_rate: RATE, chunk_length_s: 0, stride_length_s: 5 })).toHaveLength(1);
  });

  test("refuses lengths that leave nothing of a part", async () => {
    const split = (chunk_length_s: number, stride_length_s: number | [number, number]) => () =>
      split_audio(new Float32Array(9), { sampling_rate: RATE, chunk_length_s, stride_length_s });
    for (const run of [split(10, 5), split(10, [10, 0]), split(10, -1), split(10, Number.NaN), split(-1, 0)]) {
      expect(await code_of(run)).toBe("UNSUPPORTED_OPTION");
    }
    expect(await code_of(split(Number.POSITIVE_INFINITY, 0))).toBe("UNSUPPORTED_OPTION");
  });
});
