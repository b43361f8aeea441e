import { afterEach, expect, test, vi } from "vitest";
import { InterruptableStoppingCriteria } from "../src/stopping.js";
import { Tensor } from "../src/tensor.js";
import { fake_model } from "./support/fake_backend.js";

afterEach(() => {
  vi.restoreAllMocks();
});

const counting = { generate: (ids: Uint32Array) => Array.from({ length: ids.length }, (_, i) => 100 + i) };

test("each prompt is continued without its padding; shorter texts are filled up", async () => {
  const { model, calls } = fake_model("causal-lm", counting, { config: { pad_token_id: 9, eos_token_id: 8 } });
  const output = await model.generate({
    input_ids: [
      [0, 0, 3],
      [4, 5, 6],
    ],
    attention_mask: [
      [0, 0, 1],
      [1, 1, 1],
    ],
  });
  expect(calls.map(({ ids }) => ids)).toEqual([[3], [4, 5, 6]]);
  expect(output).toBeInstanceOf(Tensor);
  expect(output.tolist()).toEqual([
    [0n, 0n, 3n, 100n, 9n, 9n],
    [4n, 5n, 6n, 100n, 101n, 102n],
  ]);
});

test("what fills up is generation_config's, the config's, or else what ends a text", async () => {
  const fill = async (configs: object, asked = {}) => {
    const { model } = fake_model("causal-lm", counting, configs);
    const mask = [
      [1, 1],
      [0, 1],
    ];
    return (
      await model.generate({
        input_ids: [
          [1, 1],
          [1, 1],
        ],
        attention_mask: mask,
        ...asked,
      })
    )
      .at(1)
      .at(-1)
      .item();
  };
  expect(await fill({ config: { pad_token_id: 1 }, generation_config: { pad_token_id: 2 } })).toBe(2n);
  expect(await fill({ config: { pad_token_id: -1, eos_token_id: [5, 6] } })).toBe(5n);
  expect(await fill({ config: { pad_token_id: 3 } }, { pad_token_id: 4 })).toBe(4n);
  expect(await fill({})).toBe(0n);
});

test("without a mask pad_token_id is padding, unless it ends texts too", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const left = fake_model("causal-lm", counting, { config: { pad_token_id: 0, eos_token_id: 8 } });
  expect((await left.model.generate({ input_ids: [0, 0, 7] })).tolist()).toEqual([[0n, 0n, 7n, 100n]]);
  expect(left.calls[0]?.ids).toEqual([7]);
  expect(warn).not.toHaveBeenCalled();
  const same = fake_model("causal-lm", counting, { config: { pad_token_id: 0, eos_token_id: 0 } });
  await same.model.generate({ input_ids: [0, 7] });
  expect(same.calls[0]?.ids).toEqual([0, 7]);
  expect(warn).toHaveBeenCalledTimes(1);
});

test("right padding is warned of, and new ids come after it", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const { model, calls } = fake_model("causal-lm", counting);
  const output = await model.generate({
    input_ids: [
      [7, 0],
      [5, 6],
    ],
    attention_mask: [
      [1, 0],
      [1, 1],
    ],
  });
  expect(calls.map(({ ids }) => ids)).toEqual([[7], [5, 6]]);
  expect(output.tolist()).toEqual([
    [7n, 0n, 100n, 0n],
    [5n, 6n, 100n, 101n],
  ]);
  expect(warn.mock.calls[0]?.[0]).toContain("right-padding was detected");
});

test("lengths count padding, and each text has a seed of its own", async () => {
  const { model, calls } = fake_model("causal-lm", counting, { generation_config: { max_length: 20 } });
  const batch = {
    input_ids: [
      [0, 7],
      [5, 6],
    ],
    attention_mask: [
      [0, 1],
      [1, 1],
    ],
  };
  await model.generate({ ...batch, max_length: 10, min_length: 4, do_sample: true, seed: 3 });
  await model.generate(batch);
  await model.generate({ ...batch, max_new_tokens: 5, max_length: 9 });
  expect(calls.map(({ options }) => options)).toEqual([
    { max_length: 9, min_length: 3, do_sample: true, seed: 3 },
    { max_length: 10, min_length: 4, do_sample: true, seed: 4 },
    { max_length: 19 },
    {},
    { max_new_tokens: 5, max_length: 9 },
    { max_new_tokens: 5, max_length: 9 },
  ]);
});

test("a streamer takes one text, whose ids it gets", async () => {
  const put: bigint[][][] = [];
  const streamer = { put: (ids: bigint[][]) => put.push(ids), end: vi.fn() };
  const { model } = fake_model("causal-lm", counting);
  await model.generate({ input_ids: [[5, 6]], token_type_ids: [[0, 0]], streamer });
  expect(put).toEqual([[[5n, 6n]], [[100n]], [[101n]]]);
  expect(streamer.end).toHaveBeenCalledTimes(1);
  await expect(model.generate({ input_ids: [[5], [6]], streamer })).rejects.toMatchObject({
    code: "UNSUPPORTED_OPTION",
    message: expect.stringContaining("one text, not 2"),
  });
});

test("criteria stop each text by itself", async () => {
  const { model } = fake_model("causal-lm", counting, { config: { eos_token_id: 8 } });
  const stop = new InterruptableStoppingCriteria();
  const seen: number[][] = [];
  class First extends InterruptableStoppingCriteria {
    override _call([ids = []]: number[][]): boolean[] {
      seen.push(ids);
      return [ids[0] === 1];
    }
  }
  const input_ids = [
    [1, 1],
    [2, 2],
  ];
  const output = await model.generate({ input_ids, stopping_criteria: [stop, new First()] });
  expect(output.tolist()).toEqual([
    [1n, 1n, 100n, 8n],
    [2n, 2n, 100n, 101n],
  ]);
  expect(seen).toEqual([
    [1, 1, 100],
    [2, 2, 100],
    [2, 2, 100, 101],
  ]);
});

test("a model without a language model head writes nothing", async () => {
  const { model } = fake_model("sequence-classification", counting);
  await expect(model.generate({ input_ids: [1] })).rejects.toMatchObject({ code: "NO_HEAD" });
});

test("beams give several texts of each prompt, best first", async () => {
  const beam_search = ([id = 0]: Uint32Array) => [[id + 1, id + 2], [id + 3]];
  const { model, calls } = fake_model("causal-lm", { beam_search }, { config: { pad_token_id: 9 } });
  const asked = { num_beams: 3, num_return_sequences: 2, length_penalty: 2 };
  const output = await model.generate({ input_ids: [[10], [20]], ...asked });
  expect(output.tolist()).toEqual([
    [10n, 11n, 12n],
    [10n, 13n, 9n],
    [20n, 21n, 22n],
    [20n, 23n, 9n],
  ]);
  expect(calls).toEqual([
    { ids: [10], options: asked },
    { ids: [20], options: asked },
  ]);
  const dict = await model.generate({ input_ids: [10], ...asked, return_dict_in_generate: true });
  expect(dict.sequences.dims).toEqual([2, 3]);
  expect(dict.past_key_values).toBeUndefined();
});

test("what follows one text that grows is refused where several do", async () => {
  const repo = { generation_config: { num_beams: 2 } };
  const { model } = fake_model("causal-lm", { ...counting, beam_search: () => [[1]] }, repo);
  const streamer = { put: () => {}, end: () => {} };
  const refused = (options: object, message: RegExp) =>
    expect(model.generate({ input_ids: [1], ...options })).rejects.toThrow(message);
  await refused({ streamer }, /generation_config.json asks for 2 beams/);
  await refused({ streamer, num_beams: 3 }, /this call asks for 3 beams/);
  await refused({ stopping_criteria: new InterruptableStoppingCriteria() }, /num_beams: 1/);
  await refused({ num_beams: 1, num_return_sequences: 2 }, /would be the same/);
  // What is no number of beams is the engine's to refuse, and not taken for one.
  expect((await model.generate({ input_ids: [1], num_beams: 0 })).tolist()).toEqual([[1n, 1n]]);
  expect((await model.generate({ input_ids: [1], streamer, num_beams: 1 })).tolist()).toEqual([[1n, 100n]]);
  expect((await model.generate({ input_ids: [1] })).tolist()).toEqual([[1n, 1n]]);
});

test("as many texts of each prompt are drawn as are asked for, each by a seed of its own", async () => {
  const { model, calls } = fake_model("causal-lm", counting, { config: { pad_token_id: 9 } });
  const output = await model.generate({ input_ids: [[1], [2]], do_sample: true, seed: 5, num_return_sequences: 2 });
  expect(output.tolist()).toEqual([
    [1n, 100n],
    [1n, 100n],
    [2n, 100n],
    [2n, 100n],
  ]);
  expect(calls.map(({ ids, options }) => [ids, (options as { seed: number }).seed])).toEqual([
    [[1], 5],
    [[1], 6],
    [[2], 7],
    [[2], 8],
  ]);
});
