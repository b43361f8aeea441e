import { afterEach, describe, expect, test, vi } from "vitest";
import type { BaseModelOutput, CausalLMOutput, QuestionAnsweringModelOutput } from "../src/outputs.js";
import { array, fake_model } from "./support/fake_backend.js";

/** A row [id, 10 id] of each token, or of the last one. */
const echo = {
  forward: (ids: Uint32Array, { all_logits }: { all_logits?: boolean }) => {
    const rows = all_logits === false ? ids.slice(-1) : ids;
    return {
      logits: array(
        [rows.length, 2],
        [...rows].flatMap((id) => [id, 10 * id]),
      ),
    };
  },
};

const bert = { input_names: ["input_ids", "attention_mask", "token_type_ids"] };

afterEach(() => {
  vi.restoreAllMocks();
});

describe("forward", () => {
  test("one text's output is the engine's own array", async () => {
    const data = Float32Array.of(1, 2, 3, 4);
    const { model } = fake_model<CausalLMOutput>("causal-lm", { forward: () => ({ logits: { dims: [2, 2], data } }) });
    const { logits } = await model({ input_ids: [5, 6] });
    expect(logits.dims).toEqual([1, 2, 2]);
    expect(logits.data).toBe(data);
  });

  test("texts run one after the other without their padding, whose rows are zeros", async () => {
    const { model, calls } = fake_model<CausalLMOutput>("causal-lm", echo);
    const { logits } = await model.forward({
      input_ids: [
        [1, 2, 3],
        [0, 4, 5],
        [6, 0, 0],
      ],
      attention_mask: [
        [1, 1, 1],
        [0, 1, 1],
        [1, 0, 0],
      ],
    });
    expect(calls.map(({ ids }) => ids)).toEqual([[1, 2, 3], [4, 5], [6]]);
    expect(logits.tolist()).toEqual([
      [
        [1, 10],
        [2, 20],
        [3, 30],
      ],
      [
        [0, 0],
        [4, 40],
        [5, 50],
      ],
      [
        [6, 60],
        [0, 0],
        [0, 0],
      ],
    ]);
  });

  test("logits_to_keep: 1 is each text's last token", async () => {
    const { model } = fake_model<CausalLMOutput>("causal-lm", echo);
    const mask = [
      [1, 1],
      [1, 0],
    ];
    const { logits } = await model({
      input_ids: [
        [1, 2],
        [3, 0],
      ],
      attention_mask: mask,
      logits_to_keep: 1,
    });
    expect(logits.tolist()).toEqual([[[2, 20]], [[3, 30]]]);
  });

  test("… also where the engine gives all of them beside hidden states", async () => {
    const { model } = fake_model<CausalLMOutput>("causal-lm", {
      forward: (ids) => ({ ...echo.forward(ids, {}), "hidden_states.0": array([ids.length, 1], ids) }),
    });
    const batch = {
      input_ids: [
        [1, 2],
        [3, 0],
      ],
      attention_mask: [
        [1, 1],
        [1, 0],
      ],
    };
    const { logits, hidden_states } = await model({ ...batch, logits_to_keep: 1, output_hidden_states: true });
    expect(logits.tolist()).toEqual([[[2, 20]], [[3, 30]]]);
    expect(hidden_states[0]?.dims).toEqual([2, 2, 1]);
  });

  test("token types go along where the model has them; elsewhere only zeros do", async () => {
    const inputs = {
      input_ids: [
        [1, 2],
        [3, 0],
      ],
      attention_mask: [
        [1, 1],
        [1, 0],
      ],
      token_type_ids: [
        [0, 1],
        [0, 0],
      ],
    };
    const typed = fake_model("masked-lm", echo, bert);
    await typed.model(inputs);
    expect(typed.calls.map(({ options }) => options)).toEqual([
      { token_type_ids: Uint32Array.of(0, 1) },
      { token_type_ids: Uint32Array.of(0) },
    ]);
    const plain = fake_model("masked-lm", echo);
    await expect(plain.model(inputs)).rejects.toMatchObject({ code: "INPUT_IDS" });
    await plain.model({
      ...inputs,
      token_type_ids: [
        [0, 0],
        [0, 0],
      ],
    });
    expect(plain.calls.map(({ options }) => options)).toEqual([{}, {}]);
  });

  test("vectors of texts come one below the other, and hidden states as a list", async () => {
    const { model, calls } = fake_model<BaseModelOutput>("base", {
      forward: (ids) => ({
        last_hidden_state: array([ids.length, 1], ids),
        pooler_output: array([2], [ids.length, 7]),
        "hidden_states.0": array(
          [ids.length, 1],
          ids.map((id) => 2 * id),
        ),
        "hidden_states.1": array([ids.length, 1], ids),
      }),
    });
    const output = await model({
      input_ids: [
        [1, 2],
        [3, 0],
      ],
      attention_mask: [
        [1, 1],
        [1, 0],
      ],
      output_hidden_states: true,
    });
    expect(output.pooler_output?.tolist()).toEqual([
      [2, 7],
      [1, 7],
    ]);
    expect(output.hidden_states.map((t) => t.tolist())).toEqual([
      [
        [[2], [4]],
        [[6], [0]],
      ],
      [
        [[1], [2]],
        [[3], [0]],
      ],
    ]);
    expect(Object.keys(output)).toEqual(["last_hidden_state", "pooler_output", "hidden_states"]);
    expect(calls[0]?.options).toEqual({ output_hidden_states: true });
  });

  test("attention weights are where their tokens are", async () => {
    const { model, calls } = fake_model<BaseModelOutput>("base", {
      forward: (ids) => ({
        last_hidden_state: array([ids.length, 1], ids),
        "attentions.0": array(
          [2, ids.length, ids.length],
          Array.from({ length: 2 * ids.length ** 2 }, (_, i) => i + 1),
        ),
      }),
    });
    const inputs = {
      input_ids: [
        [1, 2],
        [0, 3],
      ],
      attention_mask: [
        [1, 1],
        [0, 1],
      ],
    };
    const { attentions } = await model({ ...inputs, output_attentions: true });
    expect(attentions.map((t) => t.tolist())).toEqual([
      [
        [
          [
            [1, 2],
            [3, 4],
          ],
          [
            [5, 6],
            [7, 8],
          ],
        ],
        [
          [
            [0, 0],
            [0, 1],
          ],
          [
            [0, 0],
            [0, 2],
          ],
        ],
      ],
    ]);
    expect(calls[0]?.options).toEqual({ output_attentions: true });
  });

  test("an answer's starts and ends are apart, and labels give a loss", async () => {
    const { model } = fake_model<QuestionAnsweringModelOutput>("question-answering", {
      forward: (ids) => ({
        logits: array(
          [ids.length, 2],
          [...ids].flatMap((id) => [id, -id]),
        ),
      }),
    });
    const inputs = {
      input_ids: [
        [1, 1],
        [3, 0],
      ],
      attention_mask: [
        [1, 1],
        [1, 0],
      ],
    };
    const output = await model({ ...inputs, start_positions: [0, 0], end_positions: [1, 0] });
    expect(Object.keys(output)).toEqual(["start_logits", "end_logits", "loss"]);
    expect([output.start_logits.tolist(), output.end_logits.tolist()]).toEqual([
      [
        [1, 1],
        [3, 0],
      ],
      [
        [-1, -1],
        [-3, 0],
      ],
    ]);
    expect(output.loss.dims).toEqual([]);
    expect(output.loss.item()).toBeCloseTo(Math.log(2) / 2, 6);
  });

  test.each([
    [{ use_cache: 1 }, "boolean"],
    [{ head_mask: [0] }, "head"],
    [{ output_attentions: 1 }, "boolean"],
    [{ output_hidden_states: "yes" }, "boolean"],
    [{ logits_to_keep: 3 }, "logits_to_keep"],
    [{ attention_maks: [1] }, "no such option"],
  ])("%o is refused", async (wrong, why) => {
    const { model } = fake_model("causal-lm", echo);
    await expect(model.forward({ input_ids: [1], ...(wrong as object) })).rejects.toMatchObject({
      code: "UNSUPPORTED_OPTION",
      message: expect.stringContaining(why),
    });
  });

  test("logits_to_keep is for those that have a next token", async () => {
    const { model } = fake_model("masked-lm", echo);
    await expect(model({ input_ids: [1], logits_to_keep: 1 })).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
  });

  test("ids that may be padding without a mask are warned of once", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const { model } = fake_model("masked-lm", echo, { config: { pad_token_id: 0, sep_token_id: 0 } });
    await model({ input_ids: [[0, 1]], attention_mask: [[0, 1]] });
    await model({ input_ids: [[1, 0, 1]] });
    expect(warn).not.toHaveBeenCalled();
    await model({
      input_ids: [
        [1, 2],
        [1, 0],
      ],
    });
    await model({ input_ids: [[0, 2]] });
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]?.[0]).toMatch(/attention_mask.*pad_token_id is sep_token_id too/);
  });
});
