import { aborted, LayerlineError } from "../errors.js";

export interface ReadAudioOptions {
  signal?: AbortSignal;
}

/**
 * Audio as samples of one channel, from -1 to 1: what the browser can decode, at another sampling rate if need be. Two
 * channels are mixed by (left + right) / √2, as transformers.js does; of more, the first is taken.
 *
 * @param audio a URL, or a file that the user has picked
 * @param sampling_rate samples a second: what the model was made for, 16 000 for Whisper
 * @throws {LayerlineError} AUDIO where it can't be decoded, or where there is nothing to decode with (workers, Node);
 *   ENTRY_NOT_FOUND, BAD_RESPONSE or NETWORK where the URL can't be read; ABORTED
 */
export async function read_audio(
  audio: string | URL | Blob,
  sampling_rate: number,
  { signal }: ReadAudioOptions = {},
): Promise<Float32Array> {
  if (typeof OfflineAudioContext === "undefined") {
    throw new LayerlineError(
      "AUDIO",
      "Audio is decoded by the browser, on a page; in a worker or in Node, decode it to a Float32Array of samples yourself.",
    );
  }
  const bytes = await read(audio, signal);
  const context = context_of(sampling_rate);
  let decoded: AudioBuffer;
  try {
    decoded = await context.decodeAudioData(bytes);
  } catch (error) {
    const what = audio instanceof Blob ? "The file" : String(audio);
    throw new LayerlineError("AUDIO", `${what} is no audio that this browser can decode.`, { cause: error });
  }
  if (signal?.aborted) throw aborted(signal);
  return mono(decoded);
}

/** One that decodes to this rate. It needs neither a loudspeaker nor a click, which an AudioContext would. */
function context_of(sampling_rate: number): OfflineAudioContext {
  try {
    return new OfflineAudioContext(1, 1, sampling_rate);
  } catch (error) {
    throw new LayerlineError("AUDIO", `The browser can't decode to ${sampling_rate} samples a second.`, {
      cause: error,
    });
  }
}

async function read(audio: string | URL | Blob, signal: AbortSignal | undefined): Promise<ArrayBuffer> {
  if (signal?.aborted) throw aborted(signal);
  if (audio instanceof Blob) return audio.arrayBuffer();
  let response: Response;
  let bytes: ArrayBuffer;
  try {
    response = await fetch(audio, signal ? { signal } : {});
    bytes = await response.arrayBuffer();
  } catch (error) {
    if (signal?.aborted) throw aborted(signal);
    throw new LayerlineError("NETWORK", `${audio} can't be reached: ${String(error)}`, { cause: error });
  }
  if (!response.ok) {
    const code = response.status === 404 ? "ENTRY_NOT_FOUND" : "BAD_RESPONSE";
    throw new LayerlineError(code, `${audio} answered with status ${response.status}.`);
  }
  return bytes;
}

/** The samples of one channel. */
export function mono(audio: Pick<AudioBuffer, "numberOfChannels" | "getChannelData">): Float32Array {
  const left = audio.getChannelData(0);
  if (audio.numberOfChannels !== 2) return left;
  const right = audio.getChannelData(1);
  return left.map((sample, i) => (sample + (right[i] ?? 0)) / Math.SQRT2);
}
