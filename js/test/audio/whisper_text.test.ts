import { describe, expect, test } from "vitest";
import { merge_sequences } from "../../src/audio/common_sequence.js";
import { decode_asr } from "../../src/audio/decode_asr.js";
import { code_of, golden, tokenizer } from "./golden.js";

describe("merge_sequences", () => {
  test("merges overlaps as transformers does", () => {
    expect(golden.common_sequences.length).toBeGreaterThan(30);
    for (const { sequences, merged } of golden.common_sequences) expect(merge_sequences(sequences)).toEqual(merged);
  });

  test("of nothing, makes nothing", () => {
    expect(merge_sequences([])).toEqual([]);
  });
});

describe("decode_asr", () => {
  test.each(golden.decoded)("reads $name as transformers does", ({ options, outputs, expected }) => {
    expect(decode_asr(tokenizer, outputs, { ...options, time_precision: 0.02 })).toEqual(expected);
  });

  test("is told by the golden of texts that times and overlaps make", () => {
    const pieces = golden.decoded.flatMap(({ expected }) => expected.chunks ?? []);
    expect(pieces.filter(({ timestamp }) => typeof timestamp?.[1] === "number").length).toBeGreaterThan(100);
    expect(golden.decoded.filter(({ outputs }) => outputs.length > 1).length).toBeGreaterThan(30);
  });

  test("refuses a tokenizer that isn't Whisper's", async () => {
    const other = { ...tokenizer, token_to_id: () => undefined };
    expect(await code_of(() => decode_asr(other, [], { time_precision: 0.02 }))).toBe("TOKENIZER");
  });
});
