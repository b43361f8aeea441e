// A Whisper that people have trained, on a speech: what transformers hears, when it is said, and its spectrogram.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openEnvironment } from "./support/environments.mjs";
import { golden, startTestHub } from "./support/models.mjs";

const ID = "layerline/whisper-tiny.en-ct2";
const { speech, samples, input_features, without_timestamps, with_timestamps } = golden("whisper_tiny.json");

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

/** What is heard of the file and of its samples, and what comes before the words: samples, spectrogram, ids. */
async function hear({ pipeline, read_audio }, { id, endpoint, speech, frames, prompts }) {
  const url = `${endpoint}/${id}/resolve/main/${speech}`;
  const pipe = await pipeline("automatic-speech-recognition", id, { endpoint });
  const audio = await read_audio(url, 16_000);
  const start = performance.now();
  const text = await pipe(url);
  const seconds = (performance.now() - start) / 1000;
  const times = await pipe(audio, { return_timestamps: true });
  const { input_features } = await pipe.processor(audio);
  const { dims, data } = input_features;
  const ids = [];
  for (const [at, prompt] of prompts.entries()) {
    const written = await pipe.model.generate({
      input_features,
      decoder_input_ids: [prompt],
      ...(at === 1 && { return_timestamps: true }),
    });
    ids.push([...written.data].map(Number));
  }
  await pipe.dispose();
  return {
    text,
    times,
    seconds,
    samples: audio.length,
    dims: [...dims],
    mean: data.reduce((sum, value) => sum + value, 0) / data.length,
    columns: frames.map((at) => Array.from({ length: dims[1] }, (_, band) => data[band * dims[2] + at])),
    ids,
  };
}

for (const [where, options] of [
  ["chromium without WebGPU", { webgpu: false }],
  ["chromium", {}],
]) {
  describe(where, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment("chromium", options);
    });
    after(() => environment.close());

    test("Whisper tiny.en hears in a speech what transformers hears, and when", async (t) => {
      const goldens = [without_timestamps, with_timestamps];
      const { shape, mean, frames } = input_features;
      const found = await environment.run(hear, {
        id: ID,
        endpoint: hub.endpoint,
        speech,
        frames: Object.keys(frames).map(Number),
        prompts: goldens.map(({ prompt }) => prompt),
      });
      t.diagnostic(`${found.seconds.toFixed(1)} s for the text`);
      assert.equal(found.samples, samples);
      assert.deepEqual(found.dims, shape);
      assert.ok(Math.abs(found.mean - mean) < 1e-5, `${found.mean} instead of ${mean}`);
      for (const [i, expected] of Object.values(frames).entries()) {
        for (const [band, value] of expected.entries()) {
          assert.ok(Math.abs(found.columns[i][band] - value) < 2e-5, `${found.columns[i][band]} instead of ${value}`);
        }
      }
      assert.deepEqual(
        found.ids,
        goldens.map(({ prompt, greedy }) => [...prompt, ...greedy]),
      );
      assert.deepEqual(found.text, without_timestamps.result);
      assert.deepEqual(found.times, with_timestamps.result);
    });
  });
}
