import { LayerlineError } from "../errors.js";
import { RESAMPLES, resample_of, resize } from "./resample.js";

type Bytes = Uint8Array | Uint8ClampedArray;

/** Colours of a pixel: grey, grey and alpha, red, green and blue, those and alpha. */
export type Channels = 1 | 2 | 3 | 4;

/** What {@link RawImage.read} makes an image of; a text is a URL. */
export type ImageInput = RawImage | string | URL | Blob | ImageBitmap | ImageData | HTMLCanvasElement | OffscreenCanvas;

function is_side(side: number): boolean {
  return Number.isSafeInteger(side) && side > 0;
}

/** An image's pixels, a byte a colour. */
export class RawImage {
  /** `[height, width, channels]` */
  readonly data: Bytes;
  readonly width: number;
  readonly height: number;
  readonly channels: Channels;

  /**
   * @param data bytes in row-major order, `[height, width, channels]`; kept as they are
   * @throws {LayerlineError} IMAGE for another number of bytes than that
   */
  constructor(data: Bytes, width: number, height: number, channels: Channels) {
    if (!is_side(width) || !is_side(height) || ![1, 2, 3, 4].includes(channels)) {
      throw new LayerlineError("IMAGE", `There is no image of ${width} × ${height} pixels with ${channels} channels.`);
    }
    if (
      !(data instanceof Uint8Array || data instanceof Uint8ClampedArray) ||
      data.length !== width * height * channels
    ) {
      throw new LayerlineError(
        "IMAGE",
        `An image of ${width} × ${height} pixels with ${channels} channels is ${width * height * channels} bytes in a ` +
          `Uint8Array or a Uint8ClampedArray; there are ${data?.length}.`,
      );
    }
    this.data = data;
    this.width = width;
    this.height = height;
    this.channels = channels;
  }

  /** Width and height, as in PIL. */
  get size(): [width: number, height: number] {
    return [this.width, this.height];
  }

  /**
   * The image that something holds or points to.
   *
   * @throws {LayerlineError} IMAGE where it is none that the browser can decode; NETWORK, BAD_RESPONSE
   */
  static async read(input: ImageInput): Promise<RawImage> {
    if (input instanceof RawImage) return input;
    if (typeof input === "string" || input instanceof URL) return RawImage.from_url(input);
    if (input instanceof Blob) return RawImage.from_blob(input);
    return RawImage.from_canvas(input);
  }

  /**
   * @throws {LayerlineError} NETWORK, BAD_RESPONSE; IMAGE for what can't be decoded
   */
  static async from_url(url: string | URL): Promise<RawImage> {
    let response: Response;
    try {
      response = await fetch(url);
    } catch (error) {
      throw new LayerlineError("NETWORK", `The image ${url} could not be fetched: ${String(error)}`, { cause: error });
    }
    if (!response.ok) {
      throw new LayerlineError("BAD_RESPONSE", `The image ${url} could not be fetched: HTTP ${response.status}.`);
    }
    return RawImage.from_blob(await response.blob());
  }

  /**
   * An image file's pixels, turned as its EXIF says. Colours are as the file has them; those of pixels that can't be seen at
   * all are lost.
   *
   * @throws {LayerlineError} IMAGE for what can't be decoded
   */
  static async from_blob(blob: Blob): Promise<RawImage> {
    if (typeof createImageBitmap === "undefined") {
      throw new LayerlineError("IMAGE", "Nothing decodes images here; give the pixels, as a RawImage.");
    }
    let bitmap: ImageBitmap;
    try {
      bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    } catch (error) {
      throw new LayerlineError("IMAGE", `The image could not be decoded: ${String(error)}`, { cause: error });
    }
    try {
      return RawImage.from_canvas(bitmap);
    } finally {
      bitmap.close();
    }
  }

  /** What a canvas shows, or an image that is decoded already; four channels. */
  static from_canvas(image: ImageBitmap | ImageData | HTMLCanvasElement | OffscreenCanvas): RawImage {
    if (typeof image !== "object" || image === null || typeof Reflect.get(image, "width") !== "number") {
      throw new LayerlineError(
        "IMAGE",
        "An image is a RawImage, a URL, a Blob, an ImageBitmap, an ImageData or a canvas.",
      );
    }
    const { width, height } = image;
    if ("data" in image) return new RawImage(image.data as Uint8ClampedArray, width, height, 4);
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    if (context === null) throw new LayerlineError("IMAGE", "The browser gives no canvas to read the image from.");
    context.drawImage(image, 0, 0);
    return new RawImage(context.getImageData(0, 0, width, height).data, width, height, 4);
  }

  /** As {@link from_url}, in transformers.js' words. */
  static fromURL(url: string | URL): Promise<RawImage> {
    return RawImage.from_url(url);
  }

  /** As {@link from_blob}, in transformers.js' words. */
  static fromBlob(blob: Blob): Promise<RawImage> {
    return RawImage.from_blob(blob);
  }

  /** As {@link from_canvas}, in transformers.js' words. */
  static fromCanvas(canvas: HTMLCanvasElement | OffscreenCanvas): RawImage {
    return RawImage.from_canvas(canvas);
  }

  /** Red, green and blue: grey as all three, and no alpha. */
  rgb(): RawImage {
    const { data, width, height, channels } = this;
    if (channels === 3) return this;
    const to = new Uint8ClampedArray(width * height * 3);
    const [green, blue] = channels === 4 ? [1, 2] : [0, 0];
    for (let from = 0, at = 0; from < data.length; from += channels) {
      to[at++] = data[from] as number;
      to[at++] = data[from + green] as number;
      to[at++] = data[from + blue] as number;
    }
    return new RawImage(to, width, height, 3);
  }

  /**
   * The image in another size, as PIL resizes it; alpha is a channel as the others are.
   *
   * @param resample one of PIL's filters by number or by name. Default 2, bilinear.
   */
  resize(width: number, height: number, { resample = 2 }: { resample?: number | string } = {}): RawImage {
    const filter = resample_of(resample);
    if (filter === undefined) {
      throw new LayerlineError("UNSUPPORTED_OPTION", `resample is ${JSON.stringify(resample)}, not of ${RESAMPLES}.`);
    }
    const { data, channels } = this;
    if (!is_side(width) || !is_side(height)) {
      throw new LayerlineError("IMAGE", `No image can be resized to ${width} × ${height} pixels.`);
    }
    if (width === this.width && height === this.height) return this;
    return new RawImage(resize(data, [...this.size, channels], [width, height], filter), width, height, channels);
  }

  /** The middle of the image; black where the image is smaller than that. */
  center_crop(width: number, height: number): RawImage {
    const { data, channels } = this;
    if (!is_side(width) || !is_side(height)) {
      throw new LayerlineError("IMAGE", `No image can be cut to ${width} × ${height} pixels.`);
    }
    const to = new Uint8ClampedArray(width * height * channels);
    const [left, top] = [Math.floor((this.width - width) / 2), Math.floor((this.height - height) / 2)];
    const [start, end] = [Math.max(0, left), Math.min(this.width, left + width)];
    for (let y = Math.max(0, top); y < Math.min(this.height, top + height); y++) {
      const row = data.subarray((y * this.width + start) * channels, (y * this.width + end) * channels);
      to.set(row, ((y - top) * width + start - left) * channels);
    }
    return new RawImage(to, width, height, channels);
  }
}
