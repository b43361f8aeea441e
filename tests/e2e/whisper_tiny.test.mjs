// A Whisper that people have trained: a speech as it reads it, and its ids as words and times.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openEnvironment } from "./support/environments.mjs";
import { golden, startTestHub } from "./support/models.mjs";

const ID = "layerline/whisper-tiny.en-ct2";
const { speech, samples, input_features, without_timestamps, with_timestamps } = golden("whisper_tiny.json");

/** What is heard, once for each of the options. */
async function hear({ pipeline }, { id, endpoint, speech, options }) {
  const pipe = await pipeline("automatic-speech-recognition", id, { endpoint });
  const heard = [];
  for (const one of options) heard.push(await pipe(`${endpoint}/${id}/resolve/main/${speech}`, one));
  await pipe.dispose();
  return heard;
}

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

/** What goes into the model and what its ids mean. */
async function read({ pipeline, read_audio }, { id, endpoint, speech, samples, frames, listed }) {
  const pipe = await pipeline("automatic-speech-recognition", id, { endpoint });
  const url = `${endpoint}/${id}/resolve/main/${speech}`;
  const decoded = await read_audio(url, 16_000);
  const bytes = await (await fetch(url)).arrayBuffer();
  // The file ends with its samples, of 16 bits each.
  const whole = new Int16Array(bytes.slice(bytes.byteLength - 2 * samples));
  const audio = Float32Array.from(whole, (sample) => sample / 32_768);
  const { dims, data } = (await pipe.processor(audio)).input_features;
  const texts = [];
  for (const ids of listed) texts.push(await pipe.tokenizer.decode(ids, { skip_special_tokens: true }));
  await pipe.dispose();
  return {
    decoded: decoded.length,
    decoded_off: decoded.reduce((most, sample, i) => Math.max(most, Math.abs(sample - audio[i])), 0),
    dims: [...dims],
    mean: data.reduce((sum, value) => sum + value, 0) / data.length,
    columns: frames.map((at) => Array.from({ length: dims[1] }, (_, band) => data[band * dims[2] + at])),
    texts,
  };
}

describe("chromium without WebGPU", () => {
  let environment;
  before(async () => {
    environment = await openEnvironment("chromium", { webgpu: false });
  });
  after(() => environment.close());

  test("Whisper tiny.en loads, and a speech's spectrogram and ids are read as transformers reads them", async () => {
    const { shape, mean, frames } = input_features;
    const found = await environment.run(read, {
      id: ID,
      endpoint: hub.endpoint,
      speech,
      samples,
      frames: Object.keys(frames).map(Number),
      listed: [without_timestamps, with_timestamps].map(({ prompt, greedy }) => [...prompt, ...greedy]),
    });
    assert.equal(found.decoded, samples);
    // Chromium divides those above zero by 32767.
    assert.ok(found.decoded_off <= 1 / 32_767, `decoded samples are off by ${found.decoded_off}`);
    assert.deepEqual(found.dims, shape);
    assert.ok(Math.abs(found.mean - mean) < 1e-5, `${found.mean} instead of ${mean}`);
    for (const [i, expected] of Object.values(frames).entries()) {
      for (const [band, value] of expected.entries()) {
        assert.ok(Math.abs(found.columns[i][band] - value) < 1e-5, `${found.columns[i][band]} instead of ${value}`);
      }
    }
    const time = /<\|[\d.]+\|>/g;
    assert.deepEqual(
      found.texts.map((text) => text.replaceAll(time, "")),
      [without_timestamps, with_timestamps].map(({ result }) => result.text),
    );
    assert.deepEqual(found.texts[1].match(time), ["<|0.00|>", "<|8.00|>", "<|8.00|>", "<|11.00|>"]);
  });

  test("Whisper tiny.en hears in a speech what transformers hears, and when", async () => {
    const options = [{}, { return_timestamps: true }];
    const heard = await environment.run(hear, { id: ID, endpoint: hub.endpoint, speech, options });
    assert.deepEqual(heard, [without_timestamps.result, with_timestamps.result]);
  });
});

describe("chromium", () => {
  let environment;
  before(async () => {
    environment = await openEnvironment("chromium");
  });
  after(() => environment.close());

  test("Whisper tiny.en hears in a speech what transformers hears, and when", async () => {
    // A software GPU hears for half a minute: once must do.
    const options = [{ return_timestamps: true }];
    const [timed] = await environment.run(hear, { id: ID, endpoint: hub.endpoint, speech, options });
    assert.deepEqual(timed, with_timestamps.result);
  });
});
