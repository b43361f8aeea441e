import { afterEach, describe, expect, test, vi } from "vitest";
import { mono, read_audio } from "../../src/audio/read_audio.js";
import { code_of } from "./golden.js";

const buffer = (...channels: number[][]) => ({
  numberOfChannels: channels.length,
  getChannelData: (at: number) => Float32Array.from(channels[at] ?? []),
});

/** A context that takes each byte for a sample, and 0 for a sign that it is no audio. */
class Context {
  constructor(
    readonly channels: number,
    readonly length: number,
    readonly rate: number,
  ) {
    if (rate < 3000) throw new RangeError("rate");
  }

  async decodeAudioData(bytes: ArrayBuffer) {
    const samples = [...new Uint8Array(bytes)];
    if (samples.includes(0)) throw new DOMException("no audio", "EncodingError");
    return buffer([...samples, this.rate]);
  }
}

const answer = (body: BodyInit, init?: ResponseInit) => vi.stubGlobal("fetch", async () => new Response(body, init));

afterEach(() => vi.unstubAllGlobals());

describe("mono", () => {
  test("mixes two channels, and takes the first of any other number", () => {
    expect([...mono(buffer([1, 0.5, -1], [1, -0.5, 0]))]).toEqual(
      [Math.SQRT2, 0, -Math.SQRT1_2].map((sample) => Math.fround(sample)),
    );
    expect([...mono(buffer([1, 2]))]).toEqual([1, 2]);
    expect([...mono(buffer([1], [2], [3]))]).toEqual([1]);
  });
});

describe("read_audio", () => {
  test("decodes what is at a URL, and files, at the rate asked for", async () => {
    vi.stubGlobal("OfflineAudioContext", Context);
    answer(new Uint8Array([7, 8]));
    expect([...(await read_audio("https://example.org/a.wav", 16_000))]).toEqual([7, 8, 16_000]);
    expect([...(await read_audio(new URL("https://example.org/a.wav"), 8_000))]).toEqual([7, 8, 8_000]);
    expect([...(await read_audio(new Blob([new Uint8Array([9])]), 16_000))]).toEqual([9, 16_000]);
  });

  test("says why there is no audio", async () => {
    expect(await code_of(() => read_audio("https://example.org/a.wav", 16_000))).toBe("AUDIO");
    vi.stubGlobal("OfflineAudioContext", Context);
    const read = (rate = 16_000) => code_of(() => read_audio("https://example.org/a.wav", rate));
    answer(new Uint8Array([0]));
    expect(await read()).toBe("AUDIO");
    expect(await read(1)).toBe("AUDIO");
    answer("", { status: 404 });
    expect(await read()).toBe("ENTRY_NOT_FOUND");
    answer("", { status: 500 });
    expect(await read()).toBe("BAD_RESPONSE");
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("no network")));
    expect(await read()).toBe("NETWORK");
  });

  test("can be given up", async () => {
    vi.stubGlobal("OfflineAudioContext", Context);
    const given_up = AbortSignal.abort();
    answer(new Uint8Array([7]));
    expect(await code_of(() => read_audio("https://example.org/a.wav", 16_000, { signal: given_up }))).toBe("ABORTED");
    const later = new AbortController();
    vi.stubGlobal("fetch", () => {
      later.abort();
      return Promise.reject(later.signal.reason);
    });
    expect(await code_of(() => read_audio("https://example.org/a.wav", 16_000, { signal: later.signal }))).toBe(
      "ABORTED",
    );
  });
});
