/** What a call of `generate` does, text by text. */

import type { Backend, GenerateOptions } from "./backend.js";
import { type Configs, prompts_of, row_options } from "./generation.js";
import { type GenerateInputs, stopping } from "./generation_options.js";
import { type Sources, sound_of, texts_of } from "./seq2seq_inputs.js";
import { write, writings_of } from "./writing.js";

/** A prompt, and what makes the ids that follow it. */
export interface TextRun {
  given: ArrayLike<number>;
  run: (on_token: (id: number) => boolean) => Promise<unknown>;
}

/** A call of `generate`. */
export interface GenerateCall {
  backend: Pick<Backend, "generate">;
  inputs: GenerateInputs;
  options: GenerateOptions;
  configs: Configs;
  signal: AbortSignal | undefined;
}

interface Runs {
  runs: TextRun[];
  warning: string | undefined;
}

/** The runs of a decoder, which goes on with what it is given. */
export function continuing_runs({ backend, inputs, options, configs, signal }: GenerateCall): Runs {
  const { batch, warning } = prompts_of(inputs, options, configs);
  const runs = batch.sequences.map((sequence, row): TextRun => {
    const own = row_options(options, configs.generation_config, sequence, row);
    return { given: sequence.given, run: (on_token) => backend.generate(sequence.ids, own, on_token, signal) };
  });
  return { runs, warning };
}

/** The runs of an encoder-decoder, which writes a text of what it is given. */
export function writing_runs(call: GenerateCall, kind: "seq2seq" | "speech"): Runs {
  const { backend, inputs, options, configs, signal } = call;
  const { sources, warning } = kind === "speech" ? sound_to_read(call) : texts_to_read(call);
  const writings = writings_of(inputs, options, configs, sources.rows.length);
  const runs = writings.map((writing, row): TextRun => {
    const { ids = new Uint32Array(), ...read } = sources.rows[row] ?? {};
    const run: TextRun["run"] = (on_token) =>
      write(
        writing,
        (decoder_input_ids, own, tell) => backend.generate(ids, { ...own, ...read, decoder_input_ids }, tell, signal),
        on_token,
      );
    return { given: writing.prompt, run };
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

/** One prompt and its new ids. */
export async function text_of(
  { given, run }: TextRun,
  { streamer, stopping_criteria }: GenerateInputs,
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
