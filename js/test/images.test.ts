import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { IMAGE_FILES, image_steps } from "../src/image/image_config.js";
import { ImageProcessor } from "../src/image/image_processor.js";
import { type Channels, RawImage } from "../src/image/raw_image.js";

interface Resized {
  from: [number, number];
  to: [number, number];
  step: number;
  filter: string;
  resample: number;
  data: number[];
}

interface Processed {
  image: [number, number, Channels];
  step: number;
  model_type: string;
  config: Record<string, unknown>;
  dims: number[];
  pixel_values: number[];
}

const golden = JSON.parse(readFileSync(new URL("../../tests/goldens/images.json", import.meta.url), "utf8")) as {
  resized: Resized[];
  processed: Processed[];
  defaults: Record<string, Record<string, unknown>>;
};

/** An image as the goldens' script makes it. */
function picture(width: number, height: number, channels: Channels, step: number): RawImage {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => (i * i * 7 + i * step) % 256);
  return new RawImage(data, width, height, channels);
}

const json = (value: unknown) => JSON.stringify(value);
/** The steps of a repo with these files. */
const steps_of = (files: Record<string, unknown>) =>
  image_steps(IMAGE_FILES.map((name) => (files[name] === undefined ? undefined : json(files[name]))));
const processor_of = (config: unknown, model_type = "") =>
  new ImageProcessor(steps_of({ "preprocessor_config.json": config, "config.json": { model_type } }));
const refused = (config: unknown) => {
  try {
    processor_of(config);
  } catch (error) {
    return error;
  }
  return undefined;
};

test("images get PIL's very bytes in other sizes", () => {
  expect(new Set(golden.resized.map(({ filter }) => filter)).size).toBe(5);
  for (const { from, to, step, filter, resample, data } of golden.resized) {
    const image = picture(from[0], from[1], 3, step);
    for (const by of [resample, filter]) {
      const found = image.resize(to[0], to[1], { resample: by });
      expect(found.size).toEqual(to);
      expect([...found.data], `${filter} from ${from} to ${to}`).toEqual(data);
    }
  }
});

test("images become what transformers makes of them", async () => {
  expect(golden.processed.length).toBeGreaterThanOrEqual(7);
  for (const { image, step, model_type, config, dims, pixel_values } of golden.processed) {
    const given = picture(...image, step);
    const found = await processor_of(config, model_type)([given, given]);
    expect(found.pixel_values.dims).toEqual([2, ...dims]);
    expect(found.original_sizes).toEqual([1, 2].map(() => [image[1], image[0]]));
    expect(found.reshaped_input_sizes).toEqual([1, 2].map(() => dims.slice(1)));
    for (const { data } of [found.pixel_values.at(0), found.pixel_values.at(1)]) {
      const off = pixel_values.map(
        (value, i) => Math.abs(value - (data[i] ?? Number.NaN)) / Math.max(1, Math.abs(value)),
      );
      expect(Math.max(...off), json(config)).toBeLessThan(2e-7);
    }
  }
});

test("what a file doesn't say is as in transformers", () => {
  for (const [type, config] of Object.entries(golden.defaults)) {
    const sparse = steps_of({ "preprocessor_config.json": { image_processor_type: type } }).steps;
    expect(sparse).toEqual(steps_of({ "preprocessor_config.json": config }).steps);
  }
  // The model's type decides where no file names a processor.
  const of_model = (model_type: string) =>
    steps_of({ "preprocessor_config.json": {}, "config.json": { model_type } }).steps;
  expect(of_model("clip").crop).toEqual({ height: 224, width: 224 });
  expect(of_model("vit").crop).toBeUndefined();
});

test("the part of processor_config.json that is about images goes before preprocessor_config.json", () => {
  const type = "ViTImageProcessor";
  const files = {
    "processor_config.json": {
      processor_class: "CLIPProcessor",
      image_processor: { image_processor_type: type, size: 9 },
    },
    "preprocessor_config.json": { image_processor_type: type, size: 8 },
  };
  expect(steps_of(files).steps.resize?.to).toEqual({ height: 9, width: 9 });
  expect(steps_of({ ...files, "processor_config.json": {} }).steps.resize?.to).toEqual({ height: 8, width: 8 });
  expect(() => steps_of({ "config.json": { model_type: "vit" } })).toThrow(
    expect.objectContaining({ code: "ENTRY_NOT_FOUND" }),
  );
});

test("what a processor can't do is said by its key", () => {
  const vit = (keys: object) => refused({ image_processor_type: "ViTImageProcessor", ...keys });
  const unsupported = (message: RegExp) =>
    expect.objectContaining({ code: "UNSUPPORTED_CONFIG", message: expect.stringMatching(message) });
  expect(refused({ image_processor_type: "SamImageProcessor" })).toEqual(
    unsupported(/SamImageProcessor.*ViTImageProcessor/),
  );
  expect(refused({})).toEqual(unsupported(/image_processor_type is undefined/));
  expect(vit({ resample: 0 })).toEqual(unsupported(/resample is 0; it must be 1 \(lanczos\), 2 \(bilinear\)/));
  expect(vit({ size: { longest_edge: 4 } })).toEqual(unsupported(/size is {"longest_edge":4}/));
  expect(vit({ size: { shortest_edge: 4, longest_edge: 9 } })).toEqual(unsupported(/size is/));
  expect(vit({ size: 0 })).toEqual(unsupported(/size is 0/));
  expect(vit({ image_mean: [0.5] })).toEqual(unsupported(/image_mean is \[0.5\]/));
  expect(vit({ do_pad: true })).toEqual(unsupported(/do_pad is true; it must be false/));
  const invalid = expect.objectContaining({ code: "CONFIG_INVALID" });
  expect(vit({ do_resize: "yes" })).toEqual(invalid);
  expect(vit({ rescale_factor: "1/255" })).toEqual(invalid);
  expect(vit({ image_std: [1, 0, 1] })).toEqual(invalid);
  expect(vit({ do_center_crop: true, crop_size: { shortest_edge: 4 } })).toEqual(invalid);
});

test("images of different sizes are no batch", async () => {
  const processor = processor_of({ image_processor_type: "ViTImageProcessor", do_resize: false });
  const images = [picture(4, 3, 3, 1), picture(4, 4, 3, 1)];
  await expect(processor(images)).rejects.toMatchObject({
    code: "IMAGE",
    message: "Images of 4 × 3 and 4 × 4 pixels can't be one batch; give them one by one.",
  });
  await expect(processor([])).rejects.toMatchObject({ code: "IMAGE" });
});

test("what is no image is refused", async () => {
  const wrong = { code: "IMAGE" };
  expect(() => new RawImage(new Uint8Array(11), 2, 2, 3)).toThrow(expect.objectContaining(wrong));
  expect(() => new RawImage(new Uint8Array(0), 0, 2, 3)).toThrow(expect.objectContaining(wrong));
  expect(() => new RawImage([1, 2, 3] as never, 1, 1, 3)).toThrow(expect.objectContaining(wrong));
  await expect(RawImage.read(7 as never)).rejects.toMatchObject(wrong);
  // Nothing decodes images in Node.
  await expect(RawImage.read(new Blob(["no image"]))).rejects.toMatchObject(wrong);
  const image = picture(3, 2, 3, 1);
  expect(() => image.resize(2, 2, { resample: "nearest" })).toThrow(
    expect.objectContaining({ code: "UNSUPPORTED_OPTION" }),
  );
  expect(() => image.center_crop(2, 0.5)).toThrow(expect.objectContaining(wrong));
  expect(() => image.resize(0, 2)).toThrow(expect.objectContaining(wrong));
});

test("pixels that are there already are taken as they are", async () => {
  const image = picture(3, 2, 4, 5);
  expect(await RawImage.read(image)).toBe(image);
  const canvas_data = { width: 3, height: 2, data: Uint8ClampedArray.from(image.data) };
  const read = await RawImage.read(canvas_data as ImageData);
  expect([...read.data]).toEqual([...image.data]);
  expect(read.channels).toBe(4);
  const grey = picture(2, 1, 2, 3);
  expect([...grey.rgb().data]).toEqual([
    grey.data[0],
    grey.data[0],
    grey.data[0],
    grey.data[2],
    grey.data[2],
    grey.data[2],
  ]);
});
