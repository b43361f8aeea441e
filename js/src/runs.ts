/** What a call of `generate` does, text by text. */

import type { Backend, GenerateOptions } from "./backend.js";
import { LayerlineError } from "./errors.js";
import { type Configs, prompts_of, row_options, type Search, seeded } from "./generation.js";
import { type DictGenerateInputs, type GenerateInputs, stopping } from "./generation_options.js";
import type { Sequence } from "./inputs.js";
import { DynamicCache, joined, past_of } from "./past_key_values.js";
import { type Sources, sound_of, texts_of } from "./seq2seq_inputs.js";
import { engine_text } from "./text_inputs.js";
import { write, writings_of, written_by_beams } from "./writing.js";

/** A prompt, and what makes the ids that follow it. */
export interface TextRun {
  /** What is given back before the new ids. */
  given: ArrayLike<number>;
  /** All that the new ids follow, where ids tell it. */
  read?: Uint32Array;
  run: (on_token: (id: number) => boolean) => Promise<unknown>;
  /** Finds the likeliest of several texts instead: their new ids, best first. */
  search: () => Promise<ArrayLike<number>[]>;
}

/** A call of `generate`. */
export interface GenerateCall {
  backend: Pick<Backend, "generate" | "beam_search">;
  inputs: GenerateInputs | DictGenerateInputs;
  options: GenerateOptions;
  configs: Configs;
  how: Search;
  signal: AbortSignal | undefined;
}

interface Runs {
  runs: TextRun[];
  warning: string | undefined;
}

/** The runs of a decoder, which goes on with what it is given. */
export function continuing_runs({ backend, inputs, options, configs, how, signal }: GenerateCall): Runs {
  const { batch, warning } = prompts_of(inputs, options, configs);
  const past = past_of(inputs.past_key_values, batch.sequences.length);
  const runs = each_drawn(batch.sequences, how, (sequence, row, nth): TextRun => {
    const own = seeded(row_options(options, configs.generation_config, sequence), nth);
    const { ids, ...text } = engine_text(behind(past?.[row], sequence), true);
    const run: TextRun["run"] = (on_token) => backend.generate(ids, { ...own, ...text }, on_token, signal);
    const search = () => backend.beam_search(ids, { ...own, ...text }, signal);
    if (text.inputs_embeds) return { given: [], run, search };
    return { given: sequence.given, ...(!text.position_ids && { read: ids }), run, search };
  });
  return { runs, warning };
}

/** What is made of each, as often as it is drawn: of it, its number, and the number of what is made. */
function each_drawn<Of, Made>(
  all: readonly Of[],
  { draws }: Search,
  make: (one: Of, row: number, nth: number) => Made,
) {
  return all.flatMap((one, row) => Array.from({ length: draws }, (_, draw) => make(one, row, row * draws + draw)));
}

/** A text of which the first ids are those that were read before, as in transformers. */
function behind(past: Uint32Array | undefined, sequence: Sequence): Sequence {
  if (past === undefined) return sequence;
  const { ids, inputs_embeds } = sequence;
  if (inputs_embeds || ids.length <= past.length) {
    const what = inputs_embeds ? "inputs_embeds" : `a text of ${ids.length}`;
    const message = `past_key_values are of ${past.length} tokens; generate goes on with all ids of a longer text, not ${what}.`;
    throw new LayerlineError("INPUT_IDS", message);
  }
  return { ...sequence, ids: joined(past, ids.subarray(past.length)) };
}

/** What a call leaves to be gone on from: the last new token of each text has not been read. */
export function past_of_runs(runs: readonly TextRun[], texts: readonly number[][]): DynamicCache | undefined {
  const past: Uint32Array[] = [];
  for (const [row, { given, read }] of runs.entries()) {
    if (read === undefined) return undefined;
    past.push(joined(read, Uint32Array.from(texts[row]?.slice(given.length, -1) ?? [])));
  }
  return new DynamicCache(past);
}

/** The runs of an encoder-decoder, which writes a text of what it is given. */
export function writing_runs(call: GenerateCall, kind: "seq2seq" | "speech"): Runs {
  const { backend, inputs, options, configs, how, signal } = call;
  const { sources, warning } = kind === "speech" ? sound_to_read(call) : texts_to_read(call);
  const writings = writings_of(inputs, options, configs, sources.rows.length);
  const runs = each_drawn(writings, how, (drawn, row, nth): TextRun => {
    const writing = { ...drawn, options: seeded(drawn.options, nth) };
    const { ids = new Uint32Array(), ...read } = sources.rows[row] ?? {};
    const run: TextRun["run"] = (on_token) =>
      write(
        writing,
        (decoder_input_ids, own, tell) => backend.generate(ids, { ...own, ...read, decoder_input_ids }, tell, signal),
        on_token,
      );
    const search = () => backend.beam_search(ids, { ...written_by_beams(writing), ...read }, signal);
    return { given: writing.prompt, run, search };
  });
  return { runs, warning };
}

interface ToRead {
  sources: Sources;
  warning: string | undefined;
}

function sound_to_read({ inputs, configs }: GenerateCall): ToRead {
  return { sources: sound_of(inputs.input_features ?? inputs.inputs, configs.config), warning: undefined };
}

function texts_to_read({ inputs, options, configs }: GenerateCall): ToRead {
  const { batch, warning } = prompts_of(inputs, options, configs, true);
  return { sources: texts_of(batch), warning };
}

/** One prompt and the new ids of the likeliest texts, best first. */
export async function searched_texts({ given, search }: TextRun): Promise<number[][]> {
  const found = await search();
  return found.map((new_ids) => [...Array.from(given), ...Array.from(new_ids)]);
}

/** One prompt and its new ids. */
export async function text_of(
  { given, run }: TextRun,
  { streamer, stopping_criteria }: Pick<GenerateInputs, "streamer" | "stopping_criteria">,
): Promise<number[]> {
  const stops_here = stopping(stopping_criteria);
  const output = Array.from(given);
  let stopped = false;
  let thrown: { error: unknown } | undefined;
  const on_token = (id: number): boolean => {
    // Ids that a worker made before it heard of the stop are not part of the output.
    if (stopped) return false;
    output.push(id);
    try {
      streamer?.put([[BigInt(id)]]);
      stopped = stops_here?.(output.slice()) ?? false;
    } catch (error) {
      thrown = { error };
      stopped = true;
    }
    return !stopped;
  };
  streamer?.put([Array.from(given, BigInt)]);
  await run(on_token);
  // What the page's own code threw is the page's own error.
  if (thrown) throw thrown.error;
  return output;
}
