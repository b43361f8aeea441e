import { describe, expect, test } from "vitest";
import { language_code, likeliest_language, whisper_prompt } from "../../src/audio/whisper_prompt.js";
import { code_of, golden } from "./golden.js";

const id = (token: string): number => golden.ids[token] ?? Number.NaN;
const many = golden.beginnings[0]?.config ?? {};
const english = golden.beginnings.find(({ config }) => config.is_multilingual === false)?.config ?? {};

describe("whisper_prompt", () => {
  test("begins as transformers does", () => {
    expect(golden.beginnings.length).toBeGreaterThan(10);
    for (const { config, options, ids } of golden.beginnings) expect(whisper_prompt(config, options)).toEqual(ids);
  });

  test("takes English where no language is named", () => {
    expect(whisper_prompt(many)).toEqual(whisper_prompt(many, { language: "en" }));
    expect(whisper_prompt(many, { language: null, task: null })).toEqual(whisper_prompt(many));
  });

  test("refuses what the model hasn't", async () => {
    expect(await code_of(() => whisper_prompt(many, { language: "klingon" }))).toBe("UNSUPPORTED_OPTION");
    expect(await code_of(() => whisper_prompt(many, { language: "japanese" }))).toBe("UNSUPPORTED_OPTION");
    expect(await code_of(() => whisper_prompt(many, { task: "sing" as never }))).toBe("UNSUPPORTED_OPTION");
    expect(await code_of(() => whisper_prompt(english, { language: "en" }))).toBe("UNSUPPORTED_OPTION");
    expect(await code_of(() => whisper_prompt(english, { task: "transcribe" }))).toBe("UNSUPPORTED_OPTION");
    expect(await code_of(() => whisper_prompt({ is_multilingual: true, decoder_start_token_id: 1 }))).toBe(
      "CONFIG_INVALID",
    );
    expect(await code_of(() => whisper_prompt({}))).toBe("CONFIG_INVALID");
  });
});

describe("language_code", () => {
  test("knows codes, names and other names", () => {
    const names = ["fr", "FRENCH", "<|FR|>", "haw", "Castilian", "haitian creole", "mandarin"];
    expect(names.map(language_code)).toEqual(["fr", "fr", "fr", "haw", "es", "ht", "zh"]);
  });

  test("takes no property of objects for a language", async () => {
    expect(await code_of(() => language_code("constructor"))).toBe("UNSUPPORTED_OPTION");
  });
});

describe("likeliest_language", () => {
  test("looks at languages alone", () => {
    const logits = new Float32Array(200).fill(-3);
    logits[7] = 9;
    logits[id("<|transcribe|>")] = 5;
    logits[id("<|de|>")] = -1;
    expect(likeliest_language(many, logits)).toBe("de");
    logits[id("<|fr|>")] = -0.5;
    expect(likeliest_language(many, logits)).toBe("fr");
  });
});
