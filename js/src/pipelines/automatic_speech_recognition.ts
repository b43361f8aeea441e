import { type AsrOutput, type AsrText, decode_asr } from "../audio/decode_asr.js";
import type { WhisperFeatureExtractor } from "../audio/feature_extractor.js";
import { read_audio } from "../audio/read_audio.js";
import { type SplitOptions, split_audio } from "../audio/split_audio.js";
import { is_multilingual, likeliest_language, type WhisperTask, whisper_prompt } from "../audio/whisper_prompt.js";
import { Callable } from "../callable.js";
import { LayerlineError } from "../errors.js";
import { own_options } from "../generation.js";
import type { GenerateInputs } from "../generation_options.js";
import type { PreTrainedModel } from "../model.js";
import type { Seq2SeqLMOutput } from "../outputs.js";
import { refuse_option } from "../refuse.js";
import type { Tensor } from "../tensor.js";
import type { PreTrainedTokenizer } from "../tokenizer.js";

/** Samples of one channel at the model's rate (Whisper's: 16 000 a second), a URL, or a file that the user has picked. */
export type AudioInput = Float32Array | string | URL | Blob;

type NotOfAudio =
  | "input_ids"
  | "inputs"
  | "attention_mask"
  | "token_type_ids"
  | "input_features"
  | "decoder_input_ids"
  | "streamer"
  | "return_timestamps";

/** Everything that `generate` takes beside the audio, and how the audio is heard. */
export interface AutomaticSpeechRecognitionOptions
  extends Omit<GenerateInputs, NotOfAudio>,
    Omit<WhisperTask, "return_timestamps">,
    Omit<SplitOptions, "sampling_rate"> {
  /** Also give `chunks` with their times. Default false. */
  return_timestamps?: boolean | null;
  /** Also give `chunks` with their languages. Default false. */
  return_language?: boolean | null;
}

/** What the pipeline is made of. */
export interface SpeechPipelineParts {
  task: string;
  model: PreTrainedModel<Seq2SeqLMOutput>;
  tokenizer: PreTrainedTokenizer;
  processor: WhisperFeatureExtractor;
}

// The call signatures of the pipeline; see Callable.
export interface AutomaticSpeechRecognitionPipeline {
  (audio: AudioInput, options?: AutomaticSpeechRecognitionOptions): Promise<AsrText>;
  (audio: readonly AudioInput[], options?: AutomaticSpeechRecognitionOptions): Promise<AsrText[]>;
}

/** What is spoken, written down; without `chunk_length_s`, of the seconds that the model hears at once. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class AutomaticSpeechRecognitionPipeline extends Callable {
  readonly task: string;
  readonly model: PreTrainedModel<Seq2SeqLMOutput>;
  readonly tokenizer: PreTrainedTokenizer;
  readonly processor: WhisperFeatureExtractor;

  /** @internal */
  constructor({ task, model, tokenizer, processor }: SpeechPipelineParts) {
    super();
    this.task = task;
    this.model = model;
    this.tokenizer = tokenizer;
    this.processor = processor;
  }

  /** @internal */
  override async _call(
    audio: AudioInput | readonly AudioInput[],
    options: AutomaticSpeechRecognitionOptions = {},
  ): Promise<AsrText | AsrText[]> {
    if (!Array.isArray(audio)) return this.#text_of(audio as AudioInput, options);
    const texts: AsrText[] = [];
    for (const one of audio as readonly AudioInput[]) texts.push(await this.#text_of(one, options));
    return texts;
  }

  async #text_of(audio: AudioInput, options: AutomaticSpeechRecognitionOptions): Promise<AsrText> {
    const {
      language = null,
      task = null,
      chunk_length_s,
      stride_length_s,
      return_timestamps,
      return_language,
      ...generation
    } = options;
    for (const [name, value] of Object.entries({ return_timestamps, return_language })) {
      if (value != null && typeof value !== "boolean") refuse_option(name, value, "It must be true or false.");
    }
    const { sampling_rate, chunk_length } = this.processor;
    if (chunk_length_s != null && chunk_length_s > chunk_length) {
      refuse_option("chunk_length_s", chunk_length_s, `The model hears ${chunk_length} s at once.`);
    }
    const positions = this.model.config.max_source_positions;
    if (typeof positions !== "number") {
      throw new LayerlineError("CONFIG_INVALID", "config.json has no max_source_positions, which Whisper needs.");
    }
    const timed = return_timestamps ?? false;
    const parts = split_audio(await samples_of(audio, sampling_rate, options.signal ?? undefined), {
      sampling_rate,
      ...(chunk_length_s != null && { chunk_length_s }),
      ...(stride_length_s !== undefined && { stride_length_s }),
    });
    const outputs: AsrOutput[] = [];
    for (const { samples, stride } of parts) {
      const tokens = await this.#tokens_of(samples, { language, task, return_timestamps: timed }, generation);
      outputs.push({ tokens, stride: chunk_length_s ? stride : null });
    }
    return decode_asr(this.tokenizer, outputs, {
      time_precision: chunk_length / positions,
      segment_size: positions,
      return_timestamps: timed,
      return_language: return_language ?? false,
    });
  }

  /** What the model says of one part, the ids with which it begins included. */
  async #tokens_of(
    samples: Float32Array,
    { language, task, return_timestamps }: Required<WhisperTask>,
    generation: Omit<GenerateInputs, NotOfAudio>,
  ): Promise<number[]> {
    const { input_features } = await this.processor(samples);
    const heard = language ?? (await this.#language_of(input_features, generation.signal));
    const prompt = whisper_prompt(own_options(this.model), { language: heard ?? null, task, return_timestamps });
    const decoder_input_ids = [prompt];
    const ids = await this.model.generate({ ...generation, return_timestamps, input_features, decoder_input_ids });
    return Array.from(ids.data, Number);
  }

  /** What is spoken, as the model hears it; undefined where it knows one language. */
  async #language_of(
    input_features: Tensor<"float32">,
    signal: AbortSignal | null | undefined,
  ): Promise<string | undefined> {
    const config = own_options(this.model);
    if (!is_multilingual(config)) return undefined;
    const start = whisper_prompt(config).slice(0, 1);
    const { logits } = await this.model({ input_features, decoder_input_ids: [start], signal: signal ?? null });
    return likeliest_language(config, logits.data);
  }

  /** Frees the model's memory; later calls reject with DISPOSED. */
  dispose(): Promise<void> {
    return this.model.dispose();
  }
}

async function samples_of(
  audio: AudioInput,
  sampling_rate: number,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const samples =
    audio instanceof Float32Array
      ? audio
      : await read_audio(audio, sampling_rate, signal === undefined ? {} : { signal });
  if (samples.length === 0) throw new LayerlineError("AUDIO", "The audio has no samples.");
  return samples;
}
