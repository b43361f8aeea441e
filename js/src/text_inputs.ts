/** What a text may be given as: ids or rows in the place of their embeddings, positions, what was read before. */

import { LayerlineError } from "./errors.js";
import { type Batch, batch_of, beside, type IdsLike, id_rows, type Sequence } from "./inputs.js";
import { joined, past_of } from "./past_key_values.js";
import { Tensor } from "./tensor.js";

/** The arguments of a forward pass, and of `generate`, that say what is read. */
export interface TextInputs {
  input_ids?: IdsLike | null;
  attention_mask?: IdsLike | null;
  token_type_ids?: IdsLike | null;
  position_ids?: IdsLike | null;
  inputs_embeds?: Tensor | null;
}

/** A text for the engine. */
export interface EngineText {
  ids: Uint32Array;
  inputs_embeds?: Float32Array;
  position_ids?: Uint32Array;
  /** How many of the first ids were read before. */
  past?: number;
}

/**
 * The texts, with the padding that the mask marks taken off.
 *
 * @param has_past the mask may have columns for what was read before, which count for nothing
 */
export function text_batch(inputs: TextInputs, has_past = false): Batch {
  const { input_ids, inputs_embeds, attention_mask, token_type_ids, position_ids } = inputs;
  if ((input_ids == null) === (inputs_embeds == null)) {
    const which = input_ids == null ? "Neither is given" : "Both are given";
    throw new LayerlineError("INPUT_IDS", `Give input_ids, or inputs_embeds in their place. ${which}.`);
  }
  const rows = inputs_embeds == null ? undefined : rows_of(inputs_embeds);
  const ids = rows ? rows.map(({ length }) => new Uint32Array(length)) : (input_ids as IdsLike);
  const batch = batch_of(ids, attention_mask, token_type_ids, { mask_is_longer: has_past });
  const positions = position_ids == null ? undefined : position_rows(position_ids, batch);
  const sequences = batch.sequences.map((sequence, row): Sequence => {
    const { start, end } = sequence;
    // Copies: what goes to a worker is the whole memory that a view is of.
    const embeds = rows?.[row]?.of(start, end);
    const places = positions?.[row]?.slice(start, end);
    return { ...sequence, ...(embeds && { inputs_embeds: embeds }), ...(places && { position_ids: places }) };
  });
  return { ...batch, sequences };
}

interface EmbedRows {
  length: number;
  of: (start: number, end: number) => Float32Array;
}

/** Rows of numbers for each text. */
function rows_of(inputs_embeds: unknown): EmbedRows[] {
  const fits = inputs_embeds instanceof Tensor && inputs_embeds.type === "float32" && inputs_embeds.size > 0;
  const dims = fits ? inputs_embeds.dims : [];
  if (!fits || dims.length < 2 || dims.length > 3) {
    throw new LayerlineError("INPUT_IDS", "inputs_embeds must be a float32 tensor of shape [batch, n, hidden].");
  }
  const [length = 0, width = 0] = dims.slice(-2);
  const data = inputs_embeds.data as Float32Array;
  return Array.from({ length: dims.length === 3 ? (dims[0] ?? 0) : 1 }, (_, row) => ({
    length,
    of: (start, end) => data.slice((row * length + start) * width, (row * length + end) * width),
  }));
}

/** Positions for each text; one row does for all of them. */
function position_rows(position_ids: IdsLike, { length, sequences }: Batch): Uint32Array[] {
  const given = id_rows(position_ids, "position_ids");
  const [only] = given.rows;
  if (given.rows.length === 1 && only && given.length === length) return sequences.map(() => only);
  return beside(given, "position_ids", "the input", { rows: sequences.map(() => new Uint32Array()), length });
}

/**
 * A text as the engine takes it, behind what was read before.
 *
 * @param counted the model's own positions are the tokens' places: given ones that are those say nothing, and without them the
 *   device knows what it has
 */
export function engine_text(
  { ids, inputs_embeds, position_ids }: Sequence,
  counted: boolean,
  past?: Uint32Array,
): EngineText {
  const read = past ?? new Uint32Array();
  if (read.length > 0 && inputs_embeds) {
    throw new LayerlineError("INPUT_IDS", "past_key_values are gone on from with input_ids; leave inputs_embeds out.");
  }
  const positions = position_ids && joined(Uint32Array.from(read.keys()), position_ids);
  const text: EngineText = { ids: read.length > 0 ? joined(read, ids) : ids };
  if (read.length > 0) text.past = read.length;
  if (inputs_embeds) text.inputs_embeds = inputs_embeds;
  const says = positions?.some((position, place) => position !== place) || !counted;
  if (positions && says) text.position_ids = positions;
  return text;
}

/** What each text of a forward pass comes behind; `counted` as in {@link engine_text}. */
export function engine_texts({ sequences }: Batch, counted: boolean, past_key_values: unknown): EngineText[] {
  const past = past_of(past_key_values, sequences.length);
  return sequences.map((sequence, row) => engine_text(sequence, counted, past?.[row]));
}
