import { describe, expect, test } from "vitest";
import type { CausalLMOutput, WithAttentions } from "../src/outputs.js";
import { DynamicCache } from "../src/past_key_values.js";
import { Tensor } from "../src/tensor.js";
import { array, fake_model } from "./support/fake_backend.js";

/** A row [id] of each token behind those that were read before. */
const echo = {
  forward: (ids: Uint32Array, { past = 0, output_attentions }: { past?: number; output_attentions?: boolean }) => {
    const rows = ids.slice(past);
    const shares = [...rows].flatMap((id) => [...ids].map((to) => 10 * id + to));
    return {
      logits: array([rows.length, 1], rows),
      ...(output_attentions && { "attentions.0": array([1, rows.length, ids.length], shares) }),
    };
  },
  generate: () => [91, 92],
};

const model_of = () => fake_model<CausalLMOutput>("causal-lm", echo);

const embeds = (dims: number[]) =>
  new Tensor(
    "float32",
    Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => i),
    dims,
  );

describe("a forward pass", () => {
  test("positions go with their tokens, but not where they are those anyway", async () => {
    const { model, calls } = model_of();
    const input_ids = [
      [0, 4, 5],
      [6, 7, 8],
    ];
    const attention_mask = [
      [0, 1, 1],
      [1, 1, 1],
    ];
    const position_ids = [
      [1, 0, 1],
      [3, 4, 5],
    ];
    const output = await model({ input_ids, attention_mask, position_ids });
    expect(calls.map(({ options }) => options)).toEqual([
      { all_logits: true },
      { all_logits: true, position_ids: Uint32Array.of(3, 4, 5) },
    ]);
    expect(output.past_key_values).toBeUndefined();
    await model({
      input_ids: [
        [1, 2],
        [3, 4],
      ],
      position_ids: new Tensor("int64", [7n, 8n], [1, 2]),
    });
    for (const { options } of calls.slice(2)) expect(options).toMatchObject({ position_ids: Uint32Array.of(7, 8) });
  });

  test("an encoder, which may number tokens otherwise, is told positions in any case", async () => {
    const { model, calls } = fake_model("masked-lm", echo);
    await model({ input_ids: [5, 6], position_ids: [0, 1] });
    expect(calls[0]?.options).toEqual({ position_ids: Uint32Array.of(0, 1) });
  });

  test("rows are read in the place of ids, without those of padding", async () => {
    const { model, calls } = model_of();
    const attention_mask = [
      [0, 1, 1],
      [1, 1, 1],
    ];
    const { logits, past_key_values } = await model({ inputs_embeds: embeds([2, 3, 2]), attention_mask });
    expect(calls.map(({ ids }) => ids)).toEqual([
      [0, 0],
      [0, 0, 0],
    ]);
    expect(calls.map(({ options }) => Reflect.get(options, "inputs_embeds"))).toEqual([
      Float32Array.of(2, 3, 4, 5),
      Float32Array.of(6, 7, 8, 9, 10, 11),
    ]);
    expect([logits.dims, past_key_values]).toEqual([[2, 3, 1], undefined]);
    await model({ inputs_embeds: embeds([1, 2]) });
    expect(calls[2]?.ids).toEqual([0]);
  });

  test("past_key_values are what was read, and what follows comes behind them", async () => {
    const { model, calls } = model_of();
    const first = await model({
      input_ids: [
        [0, 4, 5],
        [6, 7, 8],
      ],
      attention_mask: [
        [0, 1, 1],
        [1, 1, 1],
      ],
    });
    expect(first.past_key_values).toBeInstanceOf(DynamicCache);
    expect(first.past_key_values?.get_seq_length()).toBe(3);
    const past_key_values = first.past_key_values ?? null;
    const inputs = {
      input_ids: [
        [1, 2],
        [3, 0],
      ],
      past_key_values,
    };
    // The mask as transformers has it, of all tokens.
    const attention_mask = [
      [0, 1, 1, 1, 1],
      [1, 1, 1, 1, 0],
    ];
    const second = await model({ ...inputs, attention_mask, output_attentions: true });
    expect(calls.slice(2).map(({ ids, options }) => [ids, Reflect.get(options, "past")])).toEqual([
      [[4, 5, 1, 2], 2],
      [[6, 7, 8, 3], 3],
    ]);
    expect(second.logits.tolist()).toEqual([
      [[1], [2]],
      [[3], [0]],
    ]);
    const { attentions } = second as CausalLMOutput & WithAttentions;
    expect(attentions[0]?.tolist()).toEqual([
      [
        [
          [0, 14, 15, 11, 12],
          [0, 24, 25, 21, 22],
        ],
      ],
      [
        [
          [36, 37, 38, 33, 0],
          [0, 0, 0, 0, 0],
        ],
      ],
    ]);
    expect(second.past_key_values?.get_seq_length()).toBe(4);
    expect((await model({ ...inputs, use_cache: false })).past_key_values).toBeUndefined();
    // Positions that go on are places; others take the read ones' places before them.
    await model({
      ...inputs,
      position_ids: [
        [2, 3],
        [9, 10],
      ],
    });
    expect(calls.slice(6).map(({ options }) => Reflect.get(options, "position_ids"))).toEqual([
      undefined,
      Uint32Array.of(0, 1, 2, 9, 10),
    ]);
  });

  test("what makes no sense is said", async () => {
    const { model } = model_of();
    const { past_key_values } = await model({ input_ids: [1, 2] });
    for (const [wrong, code] of [
      [{}, "INPUT_IDS"],
      [{ input_ids: [1], inputs_embeds: embeds([1, 1, 2]) }, "INPUT_IDS"],
      [{ inputs_embeds: [[1]] }, "INPUT_IDS"],
      [{ inputs_embeds: embeds([2]) }, "INPUT_IDS"],
      [{ inputs_embeds: new Tensor("int64", [1n, 2n], [1, 1, 2]) }, "INPUT_IDS"],
      [{ input_ids: [1, 2], position_ids: [1] }, "INPUT_IDS"],
      [{ input_ids: [[1], [2]], position_ids: [[1], [2], [3]] }, "INPUT_IDS"],
      [{ input_ids: [1], past_key_values: {} }, "INPUT_IDS"],
      [{ input_ids: [[1], [2]], past_key_values }, "INPUT_IDS"],
      [{ inputs_embeds: embeds([1, 1, 2]), past_key_values }, "INPUT_IDS"],
    ] as const) {
      await expect(model(wrong as never)).rejects.toMatchObject({ code });
    }
    const base = fake_model("base", echo).model;
    await expect(base({ input_ids: [1], past_key_values: past_key_values ?? null })).rejects.toMatchObject({
      code: "UNSUPPORTED_OPTION",
    });
  });
});

describe("generating", () => {
  test("goes on from past_key_values, and gives them", async () => {
    const { model, calls } = model_of();
    const first = await model.generate({ input_ids: [1, 2], return_dict_in_generate: true });
    expect(first.sequences.tolist()).toEqual([[1n, 2n, 91n, 92n]]);
    // The last token has not been read.
    expect(first.past_key_values?.texts).toEqual([Uint32Array.of(1, 2, 91)]);
    const past_key_values = first.past_key_values ?? null;
    const input_ids = [5, 6, 7, 8, 9];
    const second = await model.generate({ input_ids, past_key_values, return_dict_in_generate: true });
    expect(calls[1]?.ids).toEqual([1, 2, 91, 8, 9]);
    expect(second.sequences.tolist()).toEqual([[5n, 6n, 7n, 8n, 9n, 91n, 92n]]);
    expect(second.past_key_values?.texts).toEqual([Uint32Array.of(1, 2, 91, 8, 9, 91)]);
    await expect(model.generate({ input_ids: [1, 2], past_key_values })).rejects.toMatchObject({ code: "INPUT_IDS" });
  });

  test("of rows, gives the new ids alone", async () => {
    const { model, calls } = model_of();
    const inputs = { inputs_embeds: embeds([1, 2, 2]), position_ids: [4, 5] };
    const { sequences, past_key_values } = await model.generate({ ...inputs, return_dict_in_generate: true });
    expect([sequences.tolist(), past_key_values]).toEqual([[[91n, 92n]], undefined]);
    expect(calls[0]).toEqual({
      ids: [0, 0],
      options: { inputs_embeds: Float32Array.of(0, 1, 2, 3), position_ids: Uint32Array.of(4, 5) },
    });
  });

  test("positions of the prompt are told", async () => {
    const { model, calls } = model_of();
    const inputs = { input_ids: [1, 2], position_ids: [4, 5] };
    const { sequences, past_key_values } = await model.generate({ ...inputs, return_dict_in_generate: true });
    expect(calls[0]?.options).toEqual({ position_ids: Uint32Array.of(4, 5) });
    expect([sequences.tolist(), past_key_values]).toEqual([[[1n, 2n, 91n, 92n]], undefined]);
  });
});
