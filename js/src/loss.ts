import type { PretrainedConfig } from "./config.js";
import type { Task } from "./engine.js";
import { LayerlineError } from "./errors.js";
import { type Grid, type GridLike, grid_of } from "./grid.js";
import type { Batch } from "./inputs.js";
import { num_labels } from "./labels.js";
import type { ModelInputs } from "./model_inputs.js";
import { refuse_option } from "./refuse.js";
import type { Tensor } from "./tensor.js";

/** The target that counts for nothing. */
const IGNORED = -100;

type Floats = ArrayLike<number>;
type Output = Record<string, Tensor<"float32"> | Tensor<"float32">[]>;
type Labels = Pick<ModelInputs, "labels" | "start_positions" | "end_positions" | "logits_to_keep">;

/**
 * What computes a model's loss of its output, as transformers does; undefined where no labels were given.
 *
 * Tokens of padding never count, nor does a first token that follows padding: transformers takes for those what its model
 * computes of the padding, unless their labels are -100.
 *
 * @throws {LayerlineError} LABELS for labels of another shape
 */
export function loss_function(
  task: Task,
  given: Labels,
  batch: Batch,
  config: PretrainedConfig,
): ((output: Output) => number) | undefined {
  const { labels, start_positions, end_positions } = given;
  if (task === "question-answering") {
    if (labels != null) refuse_option("labels", labels, "Give start_positions and end_positions.");
    if (start_positions == null && end_positions == null) return undefined;
    if (start_positions == null || end_positions == null) {
      throw new LayerlineError("LABELS", "start_positions and end_positions must be given together.");
    }
    return answer_loss(batch, start_positions, end_positions);
  }
  for (const [name, value] of Object.entries({ start_positions, end_positions })) {
    if (value != null) refuse_option(name, value, "It is for question answering; leave it out.");
  }
  if (labels == null) return undefined;
  if (task === "base" || task.endsWith("-projection"))
    refuse_option("labels", labels, "A model without a head has no loss; load it with a head.");
  if (given.logits_to_keep === 1) refuse_option("logits_to_keep", 1, "A loss needs the logits of every token.");
  return of_whole(task) ? text_loss(batch, labels, config) : token_loss(task, batch, labels);
}

/** Whether a model's logits are of a whole text or image. */
function of_whole(task: Task): boolean {
  return task === "sequence-classification" || task === "image-classification";
}

/** A class for each token; for causal language models each token is what the one before it should have foretold. */
function token_loss(task: Task, { sequences, length }: Batch, labels: GridLike): (output: Output) => number {
  const grid = grid_of(labels, "labels", "LABELS");
  const [rows, columns] = grid.dims.length === 1 ? [1, grid.dims[0]] : grid.dims;
  check_shape(grid, rows === sequences.length && columns === length, `[${sequences.length}, ${length}]`);
  const shift = task === "causal-lm" ? 1 : 0;
  const targets = sequences.flatMap(({ start, end }, row) =>
    Array.from({ length }, (_, token) => {
      const counts = token >= start && token + shift < end;
      return counts ? integer(grid.values[row * length + token + shift], "labels") : IGNORED;
    }),
  );
  return ({ logits }) => cross_entropy(floats(logits), targets, width(logits));
}

/** A class for each text, or numbers, as the config's `problem_type` says; without it as transformers guesses. */
function text_loss({ sequences }: Batch, labels: GridLike, config: PretrainedConfig): (output: Output) => number {
  const classes = num_labels(config);
  const grid = grid_of(labels, "labels", "LABELS");
  const texts = sequences.length;
  const one_each = grid.values.length === texts && (grid.dims.length === 1 || grid.dims[1] === 1);
  const all_each = grid.dims.length === 2 && grid.dims[0] === texts && grid.dims[1] === classes;
  // A plain array doesn't say whether its numbers are classes, but its shape does.
  const whole = grid.whole ?? one_each;
  const guessed = classes === 1 ? "regression" : whole ? "single_label_classification" : "multi_label_classification";
  const problem_type = config.problem_type ?? guessed;
  const numbers = () => Array.from(grid.values, Number);
  switch (problem_type) {
    case "regression":
      check_shape(grid, all_each || (classes === 1 && one_each), `[${texts}, ${classes}]`);
      return ({ logits }) => mean_squared_error(floats(logits), numbers());
    case "single_label_classification": {
      check_shape(grid, one_each, `[${texts}]`);
      const targets = Array.from(grid.values, (value) => integer(value, "labels"));
      return ({ logits }) => cross_entropy(floats(logits), targets, width(logits));
    }
    case "multi_label_classification":
      check_shape(grid, all_each, `[${texts}, ${classes}]`);
      return ({ logits }) => binary_cross_entropy(floats(logits), numbers());
    default:
      throw new LayerlineError(
        "CONFIG_INVALID",
        `config.json: problem_type is ${JSON.stringify(problem_type)}; it must be "regression", ` +
          '"single_label_classification" or "multi_label_classification".',
      );
  }
}

/** The mean of what an answer's start and its end cost; positions beyond the text are ignored. */
function answer_loss(batch: Batch, start_positions: GridLike, end_positions: GridLike): (output: Output) => number {
  const { sequences, length } = batch;
  const [starts, ends] = Object.entries({ start_positions, end_positions }).map(([name, value]) => {
    const grid = grid_of(value, name, "LABELS");
    check_shape(grid, grid.values.length === sequences.length, `[${sequences.length}]`, name);
    return Array.from(grid.values, (position, row) => {
      const at = Math.max(0, integer(position, name));
      if (at >= length) return IGNORED;
      const { start, end } = sequences[row] ?? { start: 0, end: length };
      if (at < start || at >= end) throw new LayerlineError("LABELS", `${name}[${row}] is ${at}, which is padding.`);
      return at;
    });
  });
  const one = (logits: Output[string] | undefined, targets: number[] | undefined) => {
    // Padding is no place where an answer could be.
    const of_text = Array.from(floats(logits), (logit, i) => {
      const { start, end } = sequences[Math.floor(i / length)] ?? { start: 0, end: length };
      return i % length >= start && i % length < end ? logit : Number.NEGATIVE_INFINITY;
    });
    return cross_entropy(of_text, targets ?? [], length);
  };
  return ({ start_logits, end_logits }) => (one(start_logits, starts) + one(end_logits, ends)) / 2;
}

/** The mean of -ln p(target) over the rows whose target counts; NaN where none does, as in torch. */
export function cross_entropy(logits: Floats, targets: readonly number[], classes: number): number {
  let sum = 0;
  let counted = 0;
  for (const [row, target] of targets.entries()) {
    if (target === IGNORED) continue;
    if (target < 0 || target >= classes) {
      throw new LayerlineError("LABELS", `${target} is no class: there are ${classes}, from 0 on.`);
    }
    const at = (index: number) => logits[row * classes + index] ?? Number.NaN;
    let largest = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < classes; i++) largest = Math.max(largest, at(i));
    let total = 0;
    for (let i = 0; i < classes; i++) total += Math.exp(at(i) - largest);
    sum += Math.log(total) + largest - at(target);
    counted++;
  }
  return sum / counted;
}

export function mean_squared_error(logits: Floats, targets: readonly number[]): number {
  return targets.reduce((sum, target, i) => sum + ((logits[i] ?? Number.NaN) - target) ** 2, 0) / targets.length;
}

/** The mean over all classes, each being true or not by itself. */
export function binary_cross_entropy(logits: Floats, targets: readonly number[]): number {
  const one = (logit: number, target: number) =>
    Math.max(logit, 0) - logit * target + Math.log1p(Math.exp(-Math.abs(logit)));
  return targets.reduce((sum, target, i) => sum + one(logits[i] ?? Number.NaN, target), 0) / targets.length;
}

function check_shape({ dims }: Grid, fits: boolean, needed: string, name = "labels"): void {
  if (!fits) throw new LayerlineError("LABELS", `${name} must have the shape ${needed}, not [${dims.join(", ")}].`);
}

function integer(value: number | bigint | undefined, name: string): number {
  const number = Number(value);
  if (Number.isInteger(number)) return number;
  throw new LayerlineError("LABELS", `${name} holds ${String(value)}, which is no class.`);
}

function floats(logits: Output[string] | undefined): Float32Array {
  if (logits === undefined || Array.isArray(logits)) throw new LayerlineError("INTERNAL", "The engine gave no logits.");
  return logits.data;
}

function width(logits: Output[string] | undefined): number {
  return Array.isArray(logits) ? 0 : (logits?.dims.at(-1) ?? 0);
}
