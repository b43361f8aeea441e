import { describe, expect, test } from "vitest";
import type { Task } from "../src/engine.js";
import type { GridLike } from "../src/grid.js";
import { batch_of } from "../src/inputs.js";
import { loss_function } from "../src/loss.js";
import { Tensor } from "../src/tensor.js";

const { log, exp } = Math;

/** Logits whose softmax is the row's own proportions. */
const logits = (rows: number[][]) => ({
  logits: new Tensor("float32", rows.flat().map(log), [1, rows.length, rows[0]?.length ?? 0]),
});

/** The loss of one text of five tokens, or of several texts. */
function loss(task: Task, labels: GridLike, output: Record<string, Tensor<"float32">>, config = {}, texts = 1) {
  const ids = Array.from({ length: texts }, () => [7, 7, 7]);
  return loss_function(task, { labels }, batch_of(ids), config)?.(output) ?? Number.NaN;
}

describe("tokens", () => {
  const tokens = logits([
    [1, 1, 2],
    [5, 3, 2],
    [1, 8, 1],
  ]);

  test("the mean of -ln p over the tokens that count", () => {
    // p is 2/4, 5/10 and 8/10.
    expect(loss("token-classification", [[2, 0, 1]], tokens)).toBeCloseTo((2 * log(2) + log(10 / 8)) / 3, 6);
    expect(loss("masked-lm", [-100, -100, 0], tokens)).toBeCloseTo(log(10), 6);
    expect(loss("masked-lm", [-100, -100, -100], tokens)).toBeNaN();
    expect(loss("masked-lm", new Tensor("int64", [-100n, 1n, -100n], [1, 3]), tokens)).toBeCloseTo(log(10 / 3), 6);
  });

  test("a causal model is asked for the next token", () => {
    // The first label is nobody's; p of 1 after the first token is 1/4, of 0 after the second 5/10.
    expect(loss("causal-lm", [2, 1, 0], tokens)).toBeCloseTo((log(4) + log(2)) / 2, 6);
    expect(loss("causal-lm", [2, -100, 0], tokens)).toBeCloseTo(log(2), 6);
  });

  test("padding never counts", () => {
    const padded = (task: Task, mask: number[]) =>
      loss_function(task, { labels: [[2, 1, 0]] }, batch_of([[7, 7, 7]], [mask]), {})?.(tokens);
    expect(padded("masked-lm", [1, 0, 0])).toBeCloseTo(log(2), 6);
    expect(padded("causal-lm", [0, 1, 1])).toBeCloseTo(log(2), 6);
    expect(padded("causal-lm", [1, 1, 0])).toBeCloseTo(log(4), 6);
  });

  test("large logits don't overflow", () => {
    const large = { logits: new Tensor("float32", [1000, 0, 0, 1000, 1000, 1000], [1, 3, 2]) };
    expect(loss("masked-lm", [1, 1, 0], large)).toBeCloseTo((1000 + 0 + log(2)) / 3, 6);
  });
});

describe("texts", () => {
  const two = { logits: new Tensor("float32", [log(1), log(3), log(9), log(1)], [2, 2]) };
  const of = (labels: GridLike, config: object, output = two) =>
    loss("sequence-classification", labels, output, config, 2);

  test("a class each", () => {
    const expected = (log(4 / 3) + log(10)) / 2;
    for (const labels of [[1, 1], [[1], [1]], new Tensor("int64", [1n, 1n], [2]), Int32Array.of(1, 1)]) {
      expect(of(labels, { id2label: { 0: "no", 1: "yes" } })).toBeCloseTo(expected, 6);
    }
    expect(of([1, -100], { num_labels: 2, problem_type: "single_label_classification" })).toBeCloseTo(log(4 / 3), 6);
  });

  test("a number each, where there is one class", () => {
    const one = { logits: new Tensor("float32", [0.5, 3], [2, 1]) };
    expect(of([1, 1], { num_labels: 1 }, one)).toBeCloseTo((0.5 ** 2 + 2 ** 2) / 2, 6);
    expect(of(Float32Array.of(1, 1), { id2label: { 0: "LABEL_0" } }, one)).toBeCloseTo(2.125, 6);
    const numbers = { logits: new Tensor("float32", [1, 2, 3, 4], [2, 2]) };
    expect(
      of(
        [
          [1, 2],
          [0, 0],
        ],
        { num_labels: 2, problem_type: "regression" },
        numbers,
      ),
    ).toBeCloseTo(25 / 4, 6);
  });

  test("every class by itself, where labels are numbers a class", () => {
    const raw = { logits: new Tensor("float32", [0, 2, -1, 50], [2, 2]) };
    const terms = [log(2), log(1 + exp(-2)), log(1 + exp(-1)), 50];
    const expected = terms.reduce((a, b) => a + b) / 4;
    for (const labels of [
      [
        [1, 1],
        [0, 0],
      ],
      new Tensor("float32", [1, 1, 0, 0], [2, 2]),
    ]) {
      expect(of(labels, { num_labels: 2 }, raw)).toBeCloseTo(expected, 6);
    }
    expect(
      of(
        [
          [1, 1],
          [0, 0],
        ],
        { problem_type: "multi_label_classification" },
        raw,
      ),
    ).toBeCloseTo(expected, 6);
  });
});

describe("answers", () => {
  const spans = {
    start_logits: new Tensor("float32", [log(1), log(2), log(5)], [1, 3]),
    end_logits: new Tensor("float32", [log(1), log(1), log(2)], [1, 3]),
  };
  const of = (start: GridLike, end: GridLike, mask = [1, 1, 1]) =>
    loss_function(
      "question-answering",
      { start_positions: start, end_positions: end },
      batch_of([[7, 7, 7]], [mask]),
      {},
    )?.(spans);

  test("the mean of the start's and the end's", () => {
    expect(of([1], [2])).toBeCloseTo((log(4) + log(2)) / 2, 6);
    expect(of([[1]], new Tensor("int64", [2n], [1, 1]))).toBeCloseTo((log(4) + log(2)) / 2, 6);
  });

  test("padding is no place for an answer, and beyond the text there is none", () => {
    expect(of([1], [1], [1, 1, 0])).toBeCloseTo((log(3 / 2) + log(2)) / 2, 6);
    expect(() => of([1], [2], [1, 1, 0])).toThrowError(expect.objectContaining({ code: "LABELS" }));
    expect(of([9], [2])).toBeNaN();
  });
});

describe("refused", () => {
  const tokens = logits([
    [1, 1],
    [1, 1],
    [1, 1],
  ]);

  test.each<[Task, GridLike, object]>([
    ["masked-lm", [1, 0], {}],
    ["masked-lm", [[1], [1], [1]], {}],
    ["masked-lm", [0, 0, 2], {}],
    ["masked-lm", [0, 0, -1], {}],
    ["masked-lm", [0, 0, 0.5], {}],
    ["token-classification", "no" as never, {}],
    ["sequence-classification", [0, 1], {}],
    ["sequence-classification", [[0, 1, 0]], { problem_type: "single_label_classification" }],
    ["sequence-classification", [[0, 1, 0]], { num_labels: 2 }],
  ])("%s: labels %o", (task, labels, config) => {
    expect(() => loss(task, labels, tokens, config)).toThrowError(expect.objectContaining({ code: "LABELS" }));
  });

  test("what a task has no use for", () => {
    const refused = (task: Task, given: object) =>
      expect(() => loss_function(task, given, batch_of([7]), { problem_type: "guessing" })).toThrowError(
        expect.objectContaining({ name: "LayerlineError" }),
      );
    refused("base", { labels: [1] });
    refused("question-answering", { labels: [1] });
    refused("question-answering", { start_positions: [1] });
    refused("masked-lm", { start_positions: [1], end_positions: [1] });
    refused("causal-lm", { labels: [1], logits_to_keep: 1 });
    refused("sequence-classification", { labels: [1] });
    expect(loss_function("masked-lm", { labels: null }, batch_of([7]), {})).toBeUndefined();
  });
});
