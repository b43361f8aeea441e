/**
 * Resizing as PIL does it, bit by bit: two passes, each of which sums pixels by weights of 22 bits and rounds to a byte.
 * Where an image becomes smaller the filter becomes wider, so that every pixel counts.
 */

/** A filter by PIL's number of it. */
export type Resample = 1 | 2 | 3 | 4 | 5;

type Bytes = Uint8Array | Uint8ClampedArray;

interface Filter {
  name: string;
  /** How far it reaches, in pixels of the larger of both images. */
  support: number;
  weight: (x: number) => number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

const FILTERS: Readonly<Record<Resample, Filter>> = {
  1: { name: "lanczos", support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  2: { name: "bilinear", support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  3: { name: "bicubic", support: 2, weight: cubic },
  4: { name: "box", support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  5: {
    name: "hamming",
    support: 1,
    weight: (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI))),
  },
};

function cubic(at: number): number {
  const [x, a] = [Math.abs(at), -0.5];
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** PIL's number of a filter that is given by number or by name; undefined where it is none of those that there are. */
export function resample_of(value: unknown): Resample | undefined {
  const found = Object.entries(FILTERS).find(([number, { name }]) => value === Number(number) || value === name);
  return found && (Number(found[0]) as Resample);
}

/** Every filter, for messages. */
export const RESAMPLES = Object.entries(FILTERS)
  .map(([number, { name }]) => `${number} (${name})`)
  .join(", ");

const BITS = 22;

/** The pixels that each new one is the sum of: from `first` on, so many as there are weights. */
interface Taps {
  first: number;
  weights: Int32Array;
}

function taps_of(from: number, to: number, { support, weight }: Filter): Taps[] {
  const scale = from / to;
  const wide = Math.max(scale, 1);
  const reach = support * wide;
  return Array.from({ length: to }, (_, at) => {
    const center = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(from, Math.trunc(center + reach + 0.5));
    // A product, as PIL has it: a quotient may be rounded otherwise.
    const narrow = 1 / wide;
    const weights = Array.from({ length: end - first }, (_, i) => weight((i + first - center + 0.5) * narrow));
    const sum = weights.reduce((a, b) => a + b, 0);
    const whole = (w: number) => Math.trunc((w < 0 ? -0.5 : 0.5) + (sum === 0 ? w : w * (1 / sum)) * (1 << BITS));
    return { first, weights: Int32Array.from(weights, whole) };
  });
}

/**
 * An image of another size.
 *
 * @param pixels bytes, `[height, width, channels]`
 * @returns bytes, `[to_height, to_width, channels]`
 */
export function resize(
  pixels: Bytes,
  [width, height, channels]: readonly [width: number, height: number, channels: number],
  [to_width, to_height]: readonly [width: number, height: number],
  resample: Resample,
): Uint8ClampedArray<ArrayBuffer> {
  const filter = FILTERS[resample];
  const across = (image: Bytes, lines: number) =>
    pass(image, taps_of(width, to_width, filter), {
      lines,
      line: width * channels,
      step: channels,
      channels,
      to_line: to_width * channels,
      to_step: channels,
    });
  const down = (image: Bytes, lines: number) =>
    pass(image, taps_of(height, to_height, filter), {
      lines,
      line: channels,
      step: lines * channels,
      channels,
      to_line: channels,
      to_step: lines * channels,
    });
  // Rounding twice, the passes' order shows. That of Pillow 13, as its answers tell.
  const down_first = to_height < height && height - to_height > 2 * (width - to_width);
  return down_first ? across(down(pixels, width), to_height) : down(across(pixels, height), to_width);
}

/** How an image lies: its lines, how far one is from the next, and how far a line's pixels are from each other. */
interface Layout {
  lines: number;
  line: number;
  step: number;
  channels: number;
  to_line: number;
  to_step: number;
}

function pass(
  from: Bytes,
  taps: readonly Taps[],
  { lines, line, step, channels, to_line, to_step }: Layout,
): Uint8ClampedArray<ArrayBuffer> {
  const to = new Uint8ClampedArray(lines * taps.length * channels);
  for (const [at, { first, weights }] of taps.entries()) {
    for (let row = 0; row < lines; row++) {
      for (let channel = 0; channel < channels; channel++) {
        let source = row * line + first * step + channel;
        let sum = 1 << (BITS - 1);
        for (let i = 0; i < weights.length; i++, source += step)
          sum += (from[source] as number) * (weights[i] as number);
        to[row * to_line + at * to_step + channel] = sum >> BITS;
      }
    }
  }
  return to;
}
