// Models that read images, and CLIP's towers: torch's answers, from pixels, from image files, and by the pipelines.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { assertClose } from "./support/close.mjs";
import { reposWith, wordsOf, wordTokenizer } from "./support/encoders.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { GOLDENS, golden, startTestHub } from "./support/models.mjs";

const VISION = join(GOLDENS, "vision");
const NAMES = readdirSync(VISION);
const CLASSES = {
  base: "AutoModel",
  "image-classification": "AutoModelForImageClassification",
  "text-projection": "CLIPTextModelWithProjection",
  "vision-projection": "CLIPVisionModelWithProjection",
};
const golden_of = (name) => golden(`vision/${name}/golden.json`);
const ALL = NAMES.flatMap((name) => Object.keys(golden_of(name).tasks).map((task) => ({ name, task })));
/** Where the page has no WebGPU, and in Firefox, one of each kind must do. */
const FEW = ALL.filter(({ name }) => ["vit-image-classification", "clip"].includes(name));

// Bytes become what the goldens' images are, in the size that they have.
const halves = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
const size = { height: 30, width: 30 };
const files = { "preprocessor_config.json": { image_processor_type: "ViTImageProcessor", size, ...halves } };
const REPOS = {
  "see/vit": { checkpoint: join(VISION, "vit-image-classification"), files },
  "see/clip": { checkpoint: join(VISION, "clip"), files: { ...files, ...wordTokenizer(99) } },
};

const byteOf = ({ step, start }, i) => (i * step + start) % 256;
const count = (dims) => dims.reduce((a, b) => a * b);
const pixelsOf = (input) => Array.from({ length: count(input.dims) }, (_, i) => byteOf(input, i) / 127.5 - 1);
/** An image as PIL has it: red, green and blue of each pixel. */
function bytesOf(input) {
  const [, height, width] = input.dims;
  const pixels = Array.from({ length: height * width }, (_, i) => i);
  const data = pixels.flatMap((i) => [0, 1, 2].map((colour) => byteOf(input, colour * height * width + i)));
  return { data, width, height };
}
const softmax = (logits) => {
  const exponents = logits.map(Math.exp);
  const sum = exponents.reduce((a, b) => a + b);
  return exponents.map((value) => value / sum);
};
const near = (got, expected, off = 0.01) => assert.ok(Math.abs(got - expected) < off, `${got} instead of ${expected}`);

let hub;
let remove;
before(async () => {
  const made = await reposWith(REPOS);
  remove = made.remove;
  const plain = Object.fromEntries(NAMES.map((name) => [`vision/${name}`, { path: join(VISION, name) }]));
  hub = await startTestHub({ ...made.repos, ...plain });
});
after(async () => {
  await hub.close();
  await remove();
});

/** Outputs of each input alone, what the model takes, and what it says to an image of another size. */
async function run(layerline, { id, endpoint, cls, inputs, options }) {
  const { Tensor } = layerline;
  const model = await layerline[cls].from_pretrained(id, { endpoint, ...options });
  const as_input = ({ input_ids, pixels, dims }) =>
    input_ids ? { input_ids } : { pixel_values: new Tensor("float32", pixels, [1, ...dims]) };
  const outputs = [];
  for (const input of inputs) {
    const output = Object.entries(await model(as_input(input)));
    outputs.push(Object.fromEntries(output.map(([name, tensor]) => [name, tensor.tolist()])));
  }
  const wrong = { pixel_values: new Tensor("float32", new Float32Array(48), [1, 3, 4, 4]) };
  const refused = await model(wrong).catch((error) => error.code);
  const { input_names } = model;
  await model.dispose();
  return { outputs, refused, input_names };
}

for (const [where, browser, options, cases] of [
  ["chromium", "chromium", {}, ALL],
  ["chromium without WebGPU", "chromium", { webgpu: false }, FEW],
  ["firefox", "firefox", {}, FEW],
]) {
  describe(where, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(browser, options);
    });
    after(() => environment.close());

    for (const { name, task } of cases) {
      test(`${name} as ${CLASSES[task]}`, async () => {
        const cases = golden_of(name).tasks[task];
        const inputs = cases.map((one) => (one.input_ids ? one : { dims: one.dims, pixels: pixelsOf(one) }));
        const given = { id: `vision/${name}`, endpoint: hub.endpoint, cls: CLASSES[task], inputs, options: {} };
        const { outputs, refused, input_names } = await environment.run(run, given);
        const reads_text = task === "text-projection";
        assert.deepEqual(input_names, reads_text ? ["input_ids", "attention_mask"] : ["pixel_values"]);
        assert.equal(refused, reads_text ? "UNSUPPORTED_OPTION" : "PIXEL_VALUES");
        for (const [i, one] of cases.entries()) {
          assert.deepEqual(Object.keys(outputs[i]).sort(), Object.keys(one.outputs).sort());
          for (const [key, expected] of Object.entries(one.outputs)) {
            const [whole] = outputs[i][key];
            const found = key === "last_hidden_state" ? one.positions.map((row) => whole[row]) : whole;
            assertClose(found.flat(), expected.flat(), one.f16_error[key].max_abs);
          }
        }
      });
    }
  });
}

describe("pipelines", () => {
  let environment;
  before(async () => {
    environment = await openEnvironment("chromium", { webgpu: false });
  });
  after(() => environment.close());

  test("image-classification, from pixels, from an image file and from its URL", async () => {
    const [one, other] = golden_of("vit-image-classification").tasks["image-classification"];
    const images = [bytesOf(one), bytesOf(other)];
    let png;
    const server = createServer((request, response) => {
      response.writeHead(request.url === "/image.png" ? 200 : 404, { "access-control-allow-origin": "*" });
      response.end(png);
    })
      .listen(0, "127.0.0.1")
      .unref();
    await once(server, "listening");
    const base = `http://127.0.0.1:${server.address().port}`;
    png = Buffer.from(
      await environment.run(async (_, { data, width, height }, state) => {
        state.canvas = new OffscreenCanvas(width, height);
        const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
        for (let i = 0; i < rgba.length / 4; i++) rgba.set(data.slice(i * 3, i * 3 + 3), i * 4);
        state.canvas.getContext("2d").putImageData(new ImageData(rgba, width), 0, 0);
        const file = await state.canvas.convertToBlob({ type: "image/png" });
        return [...new Uint8Array(await file.arrayBuffer())];
      }, images[0]),
    );
    const { alone, both, decoded, codes } = await environment.run(
      async ({ pipeline, RawImage }, { endpoint, images, base, png }, { canvas }) => {
        const pipe = await pipeline("image-classification", "see/vit", { endpoint });
        const [first, second] = images.map(
          ({ data, width, height }) => new RawImage(Uint8Array.from(data), width, height, 3),
        );
        const file = new Blob([Uint8Array.from(png)], { type: "image/png" });
        const code = (image) => pipe(image).catch((error) => error.code);
        const read = await RawImage.read(file);
        const result = {
          alone: await pipe(first),
          both: await pipe([first, second], { top_k: 2 }),
          decoded: {
            size: [...read.size, read.channels],
            data: [...read.rgb().data],
            answers: await pipe(
              [canvas, file, `${base}/image.png`, new URL("/image.png", base), await createImageBitmap(file)],
              { top_k: 1 },
            ),
          },
          codes: [
            await code(new Blob(["no image"])),
            await code(`${base}/none.png`),
            await code("http://127.0.0.1:9/image.png"),
          ],
        };
        await pipe.dispose();
        return result;
      },
      { endpoint: hub.endpoint, images, base, png: [...png] },
    );
    server.close();
    const labels = Object.values(golden("vision/vit-image-classification/config.json").id2label);
    for (const [found, { outputs }, k] of [
      [alone, one, 3],
      [both[0], one, 2],
      [both[1], other, 2],
    ]) {
      const scores = softmax(outputs.logits).map((score, i) => ({ score, label: labels[i] }));
      const expected = scores.sort((a, b) => b.score - a.score).slice(0, k);
      assert.deepEqual(
        found.map(({ label }) => label),
        expected.map(({ label }) => label),
      );
      for (const [i, { score }] of found.entries()) near(score, expected[i].score);
    }
    assert.deepEqual(decoded.size, [30, 30, 4]);
    assert.deepEqual(decoded.data, images[0].data);
    assert.equal(decoded.answers.length, 5);
    for (const [best] of decoded.answers) assert.deepEqual(best, alone[0]);
    assert.deepEqual(codes, ["IMAGE", "BAD_RESPONSE", "NETWORK"]);
  });

  test("zero-shot-image-classification weighs texts as CLIPModel does", async () => {
    const { tasks, logits_per_image } = golden_of("clip");
    const texts = tasks["text-projection"].map(({ input_ids }) => wordsOf(input_ids));
    const images = tasks["vision-projection"].map(bytesOf);
    const { found, one, disposed } = await environment.run(
      async ({ pipeline, RawImage }, { endpoint, images, texts }) => {
        const pipe = await pipeline("zero-shot-image-classification", "see/clip", { endpoint });
        const raw = images.map(({ data, width, height }) => new RawImage(Uint8Array.from(data), width, height, 3));
        const result = {
          found: await pipe(raw, texts, { hypothesis_template: "{}" }),
          one: await pipe(raw[0], texts.slice(0, 2), { hypothesis_template: "{}" }),
        };
        await pipe.dispose();
        return { ...result, disposed: await pipe(raw[0], texts).catch((error) => error.code) };
      },
      { endpoint: hub.endpoint, images, texts },
    );
    assert.equal(found.length, images.length);
    for (const [i, logits] of logits_per_image.entries()) {
      const expected = softmax(logits);
      assert.equal(found[i].length, texts.length);
      for (const { label, score } of found[i]) near(score, expected[texts.indexOf(label)], 0.02);
      assert.deepEqual(
        found[i].map(({ score }) => score),
        found[i].map(({ score }) => score).sort((a, b) => b - a),
      );
    }
    near(one.find(({ label }) => label === texts[0]).score, softmax(logits_per_image[0].slice(0, 2))[0], 0.02);
    assert.equal(disposed, "DISPOSED");
  });

  test("a repo without an image processor, or without a scale, says so", async () => {
    const codes = await environment.run(
      async ({ AutoProcessor, pipeline }, { endpoint }) => {
        const code = (promise) =>
          promise.then(
            () => "none",
            (error) => error.code,
          );
        return [
          await code(AutoProcessor.from_pretrained("vision/vit-base", { endpoint })),
          await code(pipeline("image-classification", "vision/vit-image-classification", { endpoint })),
          await code(pipeline("zero-shot-image-classification", "see/vit", { endpoint })),
        ];
      },
      { endpoint: hub.endpoint },
    );
    assert.deepEqual(codes, ["ENTRY_NOT_FOUND", "ENTRY_NOT_FOUND", "UNSUPPORTED_MODEL_TYPE"]);
  });
});
