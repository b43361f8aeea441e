import { expect, test, vi } from "vitest";
import type { EngineOutput } from "../src/engine.js";
import { ImageProcessor } from "../src/image/image_processor.js";
import { RawImage } from "../src/image/raw_image.js";
import type {
  BaseModelOutput,
  CLIPTextModelOutput,
  CLIPVisionModelOutput,
  ImageClassifierOutput,
} from "../src/outputs.js";
import { ImageClassificationPipeline } from "../src/pipelines/image_classification.js";
import { together } from "../src/pipelines/together.js";
import { ZeroShotImageClassificationPipeline } from "../src/pipelines/zero_shot_image_classification.js";
import { Tensor } from "../src/tensor.js";
import { array, fake_model } from "./support/fake_backend.js";
import { word_pieces } from "./support/tokenizers.js";

const images = (count: number) =>
  new Tensor(
    "float32",
    Float32Array.from({ length: count * 3 * 2 * 2 }, (_, i) => i),
    [count, 3, 2, 2],
  );
const reads_images = { input_names: ["pixel_values"] };

test("each image of a batch goes to the engine by itself", async () => {
  const { model, calls } = fake_model<BaseModelOutput>(
    "base",
    {
      forward: (_, { pixel_values }) => ({
        last_hidden_state: array(
          [5, 2],
          Array.from({ length: 10 }, (_, i) => (pixel_values?.data[0] ?? 0) + i),
        ),
        pooler_output: array([2], [pixel_values?.data[0] ?? 0, 1]),
      }),
    },
    reads_images,
  );
  const { last_hidden_state, pooler_output } = await model({ pixel_values: images(2) });
  expect(last_hidden_state.dims).toEqual([2, 5, 2]);
  expect([...last_hidden_state.at(1).data]).toEqual([12, 13, 14, 15, 16, 17, 18, 19, 20, 21]);
  expect(pooler_output?.tolist()).toEqual([
    [0, 1],
    [12, 1],
  ]);
  expect(calls.map(({ ids }) => ids)).toEqual([[], []]);
  expect(calls[1]?.options).toMatchObject({ pixel_values: { dims: [3, 2, 2] } });
});

test("hidden states have a row a token", async () => {
  const answer: EngineOutput = {
    logits: array([2], [1, 2]),
    "hidden_states.0": array([5, 1], [1, 2, 3, 4, 5]),
    "hidden_states.1": array([5, 1], [6, 7, 8, 9, 10]),
  };
  const { model, calls } = fake_model<ImageClassifierOutput>(
    "image-classification",
    { forward: () => answer },
    reads_images,
  );
  const { logits, hidden_states } = await model({ pixel_values: images(1), output_hidden_states: true });
  expect(logits.tolist()).toEqual([[1, 2]]);
  expect(hidden_states.map(({ dims }) => dims)).toEqual([1, 2].map(() => [1, 5, 1]));
  expect(calls[0]?.options).toMatchObject({ output_hidden_states: true });
});

test("labels are a class an image", async () => {
  const logits = array([2], [0, Math.log(3)]);
  const { model } = fake_model<ImageClassifierOutput>(
    "image-classification",
    { forward: () => ({ logits }) },
    { ...reads_images, config: { id2label: { 0: "cat", 1: "newt" } } },
  );
  const { loss } = await model({ pixel_values: images(2), labels: [1, 0] });
  expect(loss.item()).toBeCloseTo((-Math.log(0.75) - Math.log(0.25)) / 2, 6);
  await expect(model({ pixel_values: images(2), labels: [1] })).rejects.toMatchObject({ code: "LABELS" });
});

test("what isn't a batch of images is refused", async () => {
  const { model, calls } = fake_model<BaseModelOutput>("base", {}, reads_images);
  const wrong = [
    undefined,
    new Tensor("float32", [], [0, 3, 2, 2]),
    new Tensor("float32", [1, 2, 3], [3, 1, 1]),
    new Tensor("uint8", [1, 2, 3], [1, 3, 1, 1]),
  ];
  for (const pixel_values of wrong) {
    await expect(model({ pixel_values: pixel_values as never })).rejects.toMatchObject({ code: "PIXEL_VALUES" });
  }
  const both = { pixel_values: images(1), input_ids: [1] };
  await expect(model(both)).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
  const interpolated = { pixel_values: images(1), interpolate_pos_encoding: true };
  await expect(model(interpolated)).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
  expect(calls).toEqual([]);
  const text = fake_model<BaseModelOutput>("base", {});
  await expect(text.model({ ...both })).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
});

test("image-classification gives the likeliest classes, five where nothing is said", async () => {
  const labels = ["cat", "dog", "eft", "fox", "gnu", "hen"];
  const { model } = fake_model<ImageClassifierOutput>(
    "image-classification",
    {
      forward: (_, { pixel_values }) => ({
        logits: array(
          [6],
          [0, 1, 2, 3, 4, 5].map((i) => i * (pixel_values?.data[0] ?? 0)),
        ),
      }),
    },
    { ...reads_images, config: { id2label: Object.fromEntries(labels.entries()) } },
  );
  const processor = new ImageProcessor({ config: {}, steps: { rescale: 1 / 255 } });
  const pipe = new ImageClassificationPipeline({ task: "image-classification", model, processor });
  const image = new RawImage(Uint8Array.from([255, 0, 0]), 1, 1, 3);
  const found = await pipe(image);
  expect(found.map(({ label }) => label)).toEqual(["hen", "gnu", "fox", "eft", "dog"]);
  const sum = [0, 1, 2, 3, 4, 5].reduce((all, i) => all + Math.exp(i), 0);
  expect(found[0]?.score).toBeCloseTo(Math.exp(5) / sum, 5);
  const black = new RawImage(new Uint8Array(3), 1, 1, 3);
  const several = await pipe([image, black], { top_k: 1 });
  expect(several.map((classes) => classes.map(({ label }) => label))).toEqual([["hen"], ["cat"]]);
  expect(several[1]?.[0]?.score).toBeCloseTo(1 / 6, 6);
  expect(await pipe(image, { top_k: null })).toHaveLength(6);
});

test("zero-shot-image-classification compares what both towers give", async () => {
  const tokenizer = await word_pieces(["it", "is", "a", "cat", "newt"], { pad_token: "[PAD]" });
  // A text's vector is by its last word, an image's by its first byte; neither has the length 1.
  const [cat, newt] = [8, 9];
  const { model: text_model, calls } = fake_model<CLIPTextModelOutput>("text-projection", {
    forward: (ids) => ({
      text_embeds: array([2], ids.includes(newt ?? 0) ? [0, 3] : [2, 0]),
      last_hidden_state: array([ids.length, 1], ids),
    }),
  });
  const { model: vision_model } = fake_model<CLIPVisionModelOutput>(
    "vision-projection",
    {
      forward: (_, { pixel_values }) => ({
        image_embeds: array([2], pixel_values?.data[0] === 0 ? [4, 3] : [0, 9]),
        last_hidden_state: array([2, 1], [0, 0]),
      }),
    },
    reads_images,
  );
  const processor = new ImageProcessor({ config: {}, steps: {} });
  const task = "zero-shot-image-classification";
  const parts = { task, text_model, vision_model, tokenizer, processor, logit_scale: Math.log(2) };
  const pipe = new ZeroShotImageClassificationPipeline(parts);
  const images = [0, 255].map((byte) => new RawImage(Uint8Array.from([byte, 0, 0]), 1, 1, 3));
  const found = await pipe(images, ["newt", "cat"], { hypothesis_template: "it is a {}" });
  expect(calls.map(({ ids }) => ids.slice(1, -1))).toEqual([
    [5, 6, 7, newt],
    [5, 6, 7, cat],
  ]);
  const likely = (one: number, other: number) => Math.exp(2 * one) / (Math.exp(2 * one) + Math.exp(2 * other));
  expect(found.map((classes) => classes.map(({ label }) => label))).toEqual([
    ["cat", "newt"],
    ["newt", "cat"],
  ]);
  expect(found[0]?.[0]?.score).toBeCloseTo(likely(0.8, 0.6), 6);
  expect(found[1]?.[0]?.score).toBeCloseTo(likely(1, 0), 6);
  expect(await pipe(images[0] as RawImage, "cat")).toEqual([{ score: 1, label: "cat" }]);
});

test("where one of several loads fails, the models of the others are let go", async () => {
  const { model } = fake_model("base", {});
  const dispose = vi.spyOn(model, "dispose");
  const failed = [Promise.reject(new Error("first")), Promise.reject(new Error("second"))] as const;
  await expect(together([Promise.resolve(model), Promise.resolve(3), ...failed])).rejects.toThrow("first");
  expect(dispose).toHaveBeenCalledOnce();
  expect(await together([Promise.resolve(1), Promise.resolve("two")])).toEqual([1, "two"]);
});
