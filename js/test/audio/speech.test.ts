import { afterEach, describe, expect, test, vi } from "vitest";
import { audio_config, WhisperFeatureExtractor } from "../../src/audio/feature_extractor.js";
import type { EngineFeatureExtractor } from "../../src/engine.js";
import type { Seq2SeqLMOutput } from "../../src/outputs.js";
import { AutomaticSpeechRecognitionPipeline } from "../../src/pipelines/automatic_speech_recognition.js";
import type { PreTrainedTokenizer } from "../../src/tokenizer.js";
import { array, fake_model } from "../support/fake_backend.js";
import { code_of, golden, tokenizer } from "./golden.js";

const { ids } = golden;
const id = (name: string) => ids[name] as number;
const NO_TIMES = id("<|notimestamps|>");
const [START, END, EN, FR] = ["<|startoftranscript|>", "<|endoftext|>", "<|en|>", "<|fr|>"].map(id) as [
  number,
  number,
  number,
  number,
];

/** Four samples a second, and two seconds at once; each frame is its sample. */
const engine: EngineFeatureExtractor = {
  sampling_rate: () => 4,
  chunk_length: () => 2,
  extract: (samples) =>
    array(
      [1, 8],
      Float32Array.from({ length: 8 }, (_, i) => samples[i] ?? 0),
    ),
};
const processor = new WhisperFeatureExtractor({}, engine);

const generation_config = {
  decoder_start_token_id: START,
  eos_token_id: END,
  no_timestamps_token_id: NO_TIMES,
  max_length: 20,
  is_multilingual: true,
  lang_to_id: { "<|en|>": EN, "<|fr|>": FR },
  task_to_id: { transcribe: id("<|transcribe|>"), translate: id("<|translate|>") },
};

/** A pipeline whose model says the first sample as a word, between times where they are asked for, and hears French. */
function made(config = generation_config) {
  const { model, calls } = fake_model<Seq2SeqLMOutput>(
    "speech-seq2seq",
    {
      forward: () => array_of_logits(),
      generate: (_, options) => {
        const word = options.input_features?.[0] ?? 0;
        return options.return_timestamps ? [NO_TIMES + 1, word, NO_TIMES + 2, END] : [word, END];
      },
    },
    {
      config: { model_type: "whisper", max_source_positions: 4, num_mel_bins: 1 },
      generation_config: config,
      input_names: ["input_features", "decoder_input_ids"],
    },
  );
  const parts = { task: "the-task", model, tokenizer: tokenizer as unknown as PreTrainedTokenizer, processor };
  return { pipe: new AutomaticSpeechRecognitionPipeline(parts), calls };
}

function array_of_logits() {
  const logits = new Float32Array(NO_TIMES + 1);
  logits[FR] = 1;
  return { logits: array([1, logits.length], logits), encoder_last_hidden_state: array([1, 1], [0]) };
}

/** What the decoder was told to begin with. */
const prompts = (calls: ReturnType<typeof made>["calls"]) =>
  calls.map(({ options }) => [...(options.decoder_input_ids ?? [])]);

afterEach(() => {
  vi.restoreAllMocks();
});

describe("automatic-speech-recognition", () => {
  const audio = Float32Array.of(7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0);

  test("hears the language, unless it is told", async () => {
    const { pipe, calls } = made();
    expect(await pipe(audio.subarray(0, 8))).toEqual({ text: " w7" });
    expect(prompts(calls)).toEqual([[START], [START, FR, id("<|transcribe|>"), NO_TIMES]]);
    const told = made();
    await told.pipe(audio.subarray(0, 8), { language: "English", task: "translate" });
    expect(prompts(told.calls)).toEqual([[START, EN, id("<|translate|>"), NO_TIMES]]);
  });

  test("hears longer audio in parts", async () => {
    const { pipe } = made();
    const options = { chunk_length_s: 1, stride_length_s: 0, language: "en" };
    expect(await pipe(audio, options)).toEqual({ text: " w7 w8 w9" });
    expect(await pipe([audio, audio.subarray(4)], options)).toEqual([{ text: " w7 w8 w9" }, { text: " w8 w9" }]);
  });

  test("gives times, and languages, where they are asked for", async () => {
    const { pipe, calls } = made();
    const options = { chunk_length_s: 1, stride_length_s: 0, language: "en" };
    // Four positions are two seconds.
    const { text, chunks } = await pipe(audio.subarray(0, 8), { ...options, return_timestamps: true });
    expect(text).toBe(" w7 w8");
    expect(chunks).toEqual([
      { text: " w7", timestamp: [0, 0.5] },
      { text: " w8", timestamp: [1, 1.5] },
    ]);
    expect(prompts(calls)[0]).toEqual([START, EN, id("<|transcribe|>")]);
    const language = await pipe(audio.subarray(0, 4), { ...options, return_language: true });
    expect(language.chunks).toEqual([{ text: " w7", language: "english" }]);
  });

  test("warns of what it doesn't hear", async () => {
    const warn = vi.spyOn(console, "warn").mockReturnValue();
    expect(await made().pipe(audio, { language: "en" })).toEqual({ text: " w7" });
    expect(warn).toHaveBeenCalledWith(expect.stringContaining("longer than the 2 s"));
  });

  test("refuses what it can't do", async () => {
    vi.spyOn(console, "warn").mockReturnValue();
    const { pipe } = made();
    expect(await code_of(() => pipe(new Float32Array()))).toBe("AUDIO");
    expect(await code_of(() => pipe("a.wav"))).toBe("AUDIO");
    expect(await code_of(() => pipe(audio, { chunk_length_s: 3 }))).toBe("UNSUPPORTED_OPTION");
    expect(await code_of(() => pipe(audio, { language: "elvish" }))).toBe("UNSUPPORTED_OPTION");
    expect(await code_of(() => pipe(audio, { return_timestamps: "word" as never }))).toBe("UNSUPPORTED_OPTION");
    expect(await code_of(() => pipe(audio, { suppress_tokens: 5 as never }))).toBe("UNSUPPORTED_OPTION");
  });
});

describe("a feature extractor", () => {
  test("gives a batch of one spectrogram", async () => {
    const { input_features } = await processor(Float32Array.of(1, 2));
    expect(input_features.dims).toEqual([1, 1, 8]);
    expect([...input_features.data.subarray(0, 3)]).toEqual([1, 2, 0]);
    expect(await code_of(() => processor([1, 2] as never))).toBe("AUDIO");
  });

  test("is known by its type, in either file", () => {
    const config = { feature_extractor_type: "WhisperFeatureExtractor", feature_size: 80 };
    const [own, nested] = [JSON.stringify(config), JSON.stringify({ feature_extractor: config })];
    expect(audio_config([undefined, own])).toEqual(config);
    expect(audio_config([nested, undefined])).toEqual(config);
    expect(audio_config([undefined, '{"image_processor_type": "ViTImageProcessor"}'])).toBeUndefined();
    expect(audio_config([undefined, undefined])).toBeUndefined();
  });
});
