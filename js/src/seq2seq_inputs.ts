import type { PretrainedConfig } from "./config.js";
import { LayerlineError } from "./errors.js";
import { type GridLike, grid_of } from "./grid.js";
import { type Batch, batch_of, type IdsLike } from "./inputs.js";
import { type ModelInputs, type MoreOutputs, more_outputs, without_types } from "./model_inputs.js";
import { check_keys } from "./options.js";
import { pad_token_id } from "./padding.js";
import { Tensor } from "./tensor.js";
import { text_batch } from "./text_inputs.js";
import { decoder_start } from "./writing.js";

/** The arguments of a forward pass of an encoder-decoder that reads sound. */
export interface SpeechInputs {
  /** Log-mel spectrograms: float32, `[batch, mels, frames]`. */
  input_features: Tensor<"float32">;
  /** Ids of the text that is written, `[n]` or `[batch, n]`. Default: `labels`, shifted by one. */
  decoder_input_ids?: IdsLike | null;
  /** Zeros where a row of `decoder_input_ids` has padding; else ones. */
  decoder_attention_mask?: IdsLike | null;
  /** Also give `encoder_hidden_states` and `decoder_hidden_states`. Default false. */
  output_hidden_states?: boolean | null;
  /** Also give `encoder_attentions`, `decoder_attentions` and `cross_attentions`. Default false. */
  output_attentions?: boolean | null;
  /** Also give `loss`: the ids that should come out, -100 where none counts. */
  labels?: GridLike | null;
  signal?: AbortSignal | null;
}

/** What an encoder reads, a text or a spectrogram for each row of a batch. */
export interface Sources {
  /** Texts; undefined where it reads sound. */
  batch: Batch | undefined;
  rows: { ids: Uint32Array; input_features?: Float32Array }[];
}

const DECODER_KEYS = [
  "decoder_input_ids",
  "decoder_attention_mask",
  "output_hidden_states",
  "output_attentions",
  "labels",
  "signal",
];
const TEXT_KEYS = [...DECODER_KEYS, "input_ids", "attention_mask", "token_type_ids"];
const SPEECH_KEYS = [...DECODER_KEYS, "input_features"];

const NEUTRAL = { use_cache: [true, false], return_dict: [true], logits_to_keep: [0] };

const REFUSED = {
  pixel_values: "This model reads no images; leave it out.",
  encoder_outputs: "The encoder reads anew in each call; give its inputs.",
  inputs_embeds: "A forward pass starts from token ids; leave it out.",
  decoder_inputs_embeds: "A forward pass starts from token ids; give decoder_input_ids.",
  past_key_values: "The cache lives on the device and belongs to one call; give the whole text.",
  position_ids: "Positions of an encoder-decoder's tokens are counted; leave it out.",
  return_dict: "Outputs are objects; leave it out.",
  logits_to_keep: "An encoder-decoder gives those of every token; leave it out.",
};

/** The arguments of a forward pass, checked: what is read and what is written. */
export function check_seq2seq_inputs(
  inputs: ModelInputs | SpeechInputs,
  config: PretrainedConfig,
  reads_sound: boolean,
): { sources: Sources; written: Batch; more: MoreOutputs } {
  check_keys(inputs, reads_sound ? SPEECH_KEYS : TEXT_KEYS, NEUTRAL, REFUSED);
  const sources = reads_sound
    ? sound_of((inputs as SpeechInputs).input_features, config)
    : texts_of(read_texts(inputs as ModelInputs));
  const { decoder_input_ids, decoder_attention_mask, labels } = inputs;
  if (decoder_input_ids == null && labels == null) {
    throw new LayerlineError("INPUT_IDS", "An encoder-decoder needs decoder_input_ids, or labels, beside its inputs.");
  }
  const ids = decoder_input_ids ?? shifted(labels as GridLike, config);
  const written = batch_of(ids, decoder_attention_mask, undefined, { whose: "decoder_" });
  if (written.sequences.length !== sources.rows.length) {
    throw new LayerlineError(
      "INPUT_IDS",
      `decoder_input_ids has ${written.sequences.length} rows, and what the encoder reads has ${sources.rows.length}.`,
    );
  }
  return { sources, written, more: more_outputs(inputs) };
}

function read_texts({ input_ids, attention_mask, token_type_ids }: ModelInputs): Batch {
  return without_types(
    text_batch({
      input_ids: input_ids ?? null,
      attention_mask: attention_mask ?? null,
      token_type_ids: token_type_ids ?? null,
    }),
  );
}

/** Texts as what an encoder reads. */
export function texts_of(batch: Batch): Sources {
  return { batch, rows: batch.sequences.map(({ ids }) => ({ ids })) };
}

/** @throws {LayerlineError} INPUT_FEATURES where they are no spectrograms as the model reads them */
export function sound_of(input_features: unknown, config: PretrainedConfig): Sources {
  const { num_mel_bins: mels, max_source_positions: positions } = config;
  const frames = typeof positions === "number" ? 2 * positions : undefined;
  const features = input_features instanceof Tensor && is_float32(input_features) ? input_features : undefined;
  const fits =
    features !== undefined &&
    features.dims.length === 3 &&
    features.size > 0 &&
    features.dims[1] === (mels ?? features.dims[1]) &&
    features.dims[2] === (frames ?? features.dims[2]);
  if (!fits) {
    throw new LayerlineError(
      "INPUT_FEATURES",
      `input_features must be a float32 tensor of shape [batch, ${mels ?? "mels"}, ${frames ?? "frames"}].`,
    );
  }
  const rows = Array.from({ length: features.dims[0] ?? 0 }, (_, row) => ({
    ids: new Uint32Array(),
    // A copy: what goes to a worker is the whole memory that a view is of.
    input_features: features.at(row).data.slice(),
  }));
  return { batch: undefined, rows };
}

function is_float32(tensor: Tensor): tensor is Tensor<"float32"> {
  return tensor.type === "float32";
}

/** Labels as what the decoder is given to foretell them: each is what should follow the one before. */
function shifted(labels: GridLike, config: PretrainedConfig): number[][] {
  const { dims, values } = grid_of(labels, "labels", "LABELS");
  const [rows, length] = dims.length === 1 ? [1, dims[0]] : dims;
  const [start, pad] = [decoder_start({ config, generation_config: {} }), pad_token_id(config)];
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length }, (_, token) => {
      if (token === 0) return start;
      const id = Number(values[row * length + token - 1]);
      if (id !== -100) return id;
      if (pad !== undefined) return pad;
      throw new LayerlineError("LABELS", "Labels of -100 need a pad_token_id in config.json; give decoder_input_ids.");
    }),
  );
}
