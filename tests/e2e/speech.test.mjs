// Speech: spectrograms equal transformers', and what the pipeline writes is what the model says of them.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { reposWith, wordTokenizer } from "./support/encoders.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { GOLDENS, golden, startTestHub } from "./support/models.mjs";

const RATE = 16_000;
const feature_extractor_type = "WhisperFeatureExtractor";
const preprocessor = { feature_extractor_type, feature_size: 20, chunk_length: 1, hop_length: 160, n_fft: 400 };
const ids = golden("seq2seq/whisper/generation_config.json");

/** Words as ids, of which one is Whisper's mark: ids above it are times. */
function tokenizer(no_timestamps) {
  const special = { pad_token: "w0", bos_token: "w1", eos_token: "w2", cls_token: "w3" };
  const files = wordTokenizer(131, { special });
  const { added_tokens, model } = files["tokenizer.json"];
  const content = "<|notimestamps|>";
  delete model.vocab[`w${no_timestamps}`];
  model.vocab[content] = no_timestamps;
  const flags = { special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
  added_tokens.push({ id: no_timestamps, content, ...flags });
  return files;
}

const repo = (no_timestamps, generation) => ({
  seq2seq: "whisper",
  files: {
    ...tokenizer(no_timestamps),
    "preprocessor_config.json": preprocessor,
    "generation_config.json": { ...ids, max_length: 14, ...generation },
  },
});

const REPOS = {
  "hear/words": repo(130, { suppress_tokens: [130] }),
  "hear/times": repo(80, { no_timestamps_token_id: 80, max_initial_timestamp_index: 1 }),
  "hear/large": { seq2seq: "whisper", files: { "preprocessor_config.json": { feature_extractor_type } } },
};

/** As the goldens' sweep. */
function sweep(count) {
  const seconds = (at) => at / RATE;
  const wave = (at) => 0.6 * Math.sin(2 * Math.PI * (100 * at + (3450 * at * at) / seconds(count)));
  return Array.from({ length: count }, (_, at) => wave(seconds(at)));
}

/** A second, as samples that 16 bits hold exactly. */
const WHOLE = sweep(RATE).map((sample) => Math.round(sample * 32_768));

/** A WAV file of one channel. */
function wav(samples) {
  const bytes = Buffer.alloc(44 + 2 * samples.length);
  bytes.write("RIFF", 0);
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write("WAVEfmt ", 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(RATE, 24);
  bytes.writeUInt32LE(2 * RATE, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write("data", 36);
  bytes.writeUInt32LE(2 * samples.length, 40);
  for (const [i, sample] of samples.entries()) bytes.writeInt16LE(sample, 44 + 2 * i);
  return bytes;
}

const urlOf = (id, file) => `${hub.endpoint}/${id}/resolve/main/${file}`;

let hub;
let remove;
before(async () => {
  const made = await reposWith(REPOS);
  remove = made.remove;
  await writeFile(join(made.repos["hear/times"].path, "sweep.wav"), wav(WHOLE));
  hub = await startTestHub({
    ...made.repos,
    "hear/nothing": { path: join(GOLDENS, "seq2seq", "whisper") },
  });
});
after(async () => {
  await hub.close();
  await remove();
});

const words = (list) =>
  list
    .filter((id) => id > 3)
    .map((id) => `w${id}`)
    .join(" ");

for (const [where, browser, options] of [
  ["chromium", "chromium", {}],
  ["chromium without WebGPU", "chromium", { webgpu: false }],
  ["firefox", "firefox", {}],
]) {
  describe(where, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(browser, options);
    });
    after(() => environment.close());

    test("spectrograms equal transformers'", async () => {
      const [{ signal, shape, frames }] = golden("log_mel.json").cases;
      assert.equal(signal.kind, "sweep");
      const { dims, columns, codes } = await environment.run(
        async ({ AutoProcessor }, { endpoint, samples, wanted }) => {
          const processor = await AutoProcessor.from_pretrained("hear/large", { endpoint });
          const { input_features } = await processor(Float32Array.from(samples));
          const [, mels, frames] = input_features.dims;
          const column = (at) => Array.from({ length: mels }, (_, band) => input_features.data[band * frames + at]);
          const code = (promise) => promise.then(String, (error) => error.code);
          return {
            dims: [...input_features.dims],
            columns: wanted.map(column),
            codes: [
              await code(processor([1, 2])),
              await code(processor(Float32Array.of(0, Number.NaN))),
              await code(AutoProcessor.from_pretrained("hear/nothing", { endpoint })),
            ],
          };
        },
        { endpoint: hub.endpoint, samples: sweep(signal.samples), wanted: Object.keys(frames).map(Number) },
      );
      assert.deepEqual(dims, [1, ...shape]);
      for (const [i, expected] of Object.values(frames).entries()) {
        for (const [band, value] of expected.entries()) {
          assert.ok(Math.abs(columns[i][band] - value) < 1e-5, `${columns[i][band]} instead of ${value}`);
        }
      }
      assert.deepEqual(codes, ["AUDIO", "AUDIO", "ENTRY_NOT_FOUND"]);
    });

    test("automatic-speech-recognition writes what the model says, in one part and in several", async () => {
      const { said, text, listed, parts, long, codes } = await environment.run(
        async ({ AutoModelForSpeechSeq2Seq, AutoProcessor, pipeline }, { endpoint, samples, no_audio }) => {
          const audio = Float32Array.from(samples);
          const id = "hear/words";
          const pipe = await pipeline("automatic-speech-recognition", id, { endpoint });
          const model = await AutoModelForSpeechSeq2Seq.from_pretrained(id, { endpoint });
          const processor = await AutoProcessor.from_pretrained(id, { endpoint });
          const hear = async (from, to) => {
            const ids = await model.generate(await processor(audio.slice(from, to)));
            return [...ids.data].map(Number);
          };
          const code = (promise) => promise.then(String, (error) => error.code);
          const result = {
            said: await hear(0, 16_000),
            text: await pipe(audio.slice(0, 16_000)),
            listed: await pipe([audio.slice(0, 16_000), audio.slice(0, 8_000)], { max_new_tokens: 3 }),
            parts: [await hear(0, 16_000), await hear(16_000, 24_000)],
            long: await pipe(audio, { chunk_length_s: 1, stride_length_s: 0 }),
            codes: [
              await code(pipe(new Float32Array(0))),
              await code(pipe(no_audio)),
              await code(pipe(audio, { language: "french" })),
              await code(pipe(audio, { chunk_length_s: 2 })),
              await code(pipe(audio, { return_timestamps: "word" })),
              await code(pipe(audio, { return_timestamps: true })),
            ],
          };
          await pipe.dispose();
          await model.dispose();
          return result;
        },
        { endpoint: hub.endpoint, samples: sweep(24_000), no_audio: urlOf("hear/words", "config.json") },
      );
      assert.ok(said.length > 3);
      assert.deepEqual(text, { text: words(said) });
      assert.deepEqual(listed[0], { text: words(said.slice(0, 4)) });
      assert.equal(listed.length, 2);
      assert.ok(parts.every((part) => long.text.includes(words(part).split(" ")[0])));
      assert.ok(long.text.length > text.text.length);
      assert.deepEqual(codes, ["AUDIO", "AUDIO", ...Array(4).fill("UNSUPPORTED_OPTION")]);
    });

    test("times come in order, and URLs and files are decoded", async () => {
      const { text, of_url, of_file } = await environment.run(
        async ({ pipeline }, { endpoint, samples, url }) => {
          const pipe = await pipeline("automatic-speech-recognition", "hear/times", { endpoint });
          const result = {
            text: await pipe(Float32Array.from(samples), { return_timestamps: true }),
            of_url: await pipe(url, { return_timestamps: true }),
            of_file: await pipe(await (await fetch(url)).blob(), { return_timestamps: true }),
          };
          await pipe.dispose();
          return result;
        },
        {
          endpoint: hub.endpoint,
          samples: WHOLE.map((sample) => sample / 32_768),
          url: urlOf("hear/times", "sweep.wav"),
        },
      );
      assert.equal(text.text, text.chunks.map((chunk) => chunk.text).join(""));
      assert.ok(text.chunks.length > 0);
      const times = text.chunks.flatMap(({ timestamp }) => timestamp).filter((time) => time !== null);
      assert.ok(times[0] <= 0.02, `${times}`);
      assert.ok(times.every((time, i) => i === 0 || time >= times[i - 1]));
      assert.deepEqual(of_url, text);
      assert.deepEqual(of_file, text);
    });
  });
}
