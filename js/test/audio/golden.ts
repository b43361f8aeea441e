import { readFileSync } from "node:fs";
import type { AsrOptions, AsrOutput, AsrText } from "../../src/audio/decode_asr.js";
import type { SplitOptions } from "../../src/audio/split_audio.js";
import type { WhisperTask } from "../../src/audio/whisper_prompt.js";
import type { GenerationConfig } from "../../src/config.js";
import { LayerlineError } from "../../src/errors.js";

interface Golden {
  ids: Record<string, number>;
  beginnings: { config: GenerationConfig; options: WhisperTask; ids: number[] }[];
  chunks: (Pick<SplitOptions, "chunk_length_s" | "stride_length_s"> & { samples: number; chunks: number[][] })[];
  common_sequences: { sequences: number[][]; merged: number[] }[];
  decoded: { name: string; options: AsrOptions; outputs: AsrOutput[]; expected: AsrText }[];
}

/** What transformers does with Whisper's tokens. */
export const golden: Golden = JSON.parse(
  readFileSync(new URL("../../../tests/goldens/whisper.json", import.meta.url), "utf8"),
);

/** The golden's tokenizer: words, then special tokens, then timestamps. */
export const tokenizer = {
  all_special_ids: Object.values(golden.ids),
  token_to_id: (token: string): number | undefined => golden.ids[token],
  decode: (ids: number[]): string =>
    ids.map((id) => Object.entries(golden.ids).find(([, known]) => known === id)?.[0] ?? ` w${id}`).join(""),
};

/** The code of the error that `run` ends with. */
export async function code_of(run: () => unknown): Promise<string | undefined> {
  try {
    await run();
  } catch (error) {
    return error instanceof LayerlineError ? error.code : String(error);
  }
  return undefined;
}
