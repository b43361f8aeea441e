import { afterEach, describe, expect, test, vi } from "vitest";
import type { ForwardOptions, GenerateOptions } from "../src/backend.js";
import type { Seq2SeqLMOutput } from "../src/outputs.js";
import { InterruptableStoppingCriteria } from "../src/stopping.js";
import { Tensor } from "../src/tensor.js";
import { type Answers, array, fake_model } from "./support/fake_backend.js";

const TEXTS = ["input_ids", "attention_mask", "decoder_input_ids"];
const SOUND = ["input_features", "decoder_input_ids"];

afterEach(() => {
  vi.restoreAllMocks();
});

/** Tells apart what was read and what was written: states are the former's ids, logits the latter's. */
const echo = (ids: Uint32Array, { decoder_input_ids = new Uint32Array(), input_features }: ForwardOptions) => ({
  logits: array(
    [decoder_input_ids.length, 3],
    [...decoder_input_ids].flatMap((id) => [id, 0, 0]),
  ),
  encoder_last_hidden_state: input_features ? array([2, 1], input_features) : array([ids.length, 1], ids),
});

/** Writes 100, 101, … until it is told to stop, or until `max_length`. */
const counting = {
  generate: (_: Uint32Array, { decoder_input_ids = new Uint32Array(), max_length = 0 }: GenerateOptions) =>
    Array.from({ length: max_length - decoder_input_ids.length }, (_, i) => 100 + i),
};

const writer = (config: object = {}, generation_config: object = {}) =>
  fake_model("seq2seq-lm", counting, { config, generation_config, input_names: TEXTS });

/** What the engine was asked for. */
const asked = (calls: ReturnType<typeof writer>["calls"]) =>
  calls.map(({ ids, options: { decoder_input_ids, ...options } }) => [ids, [...(decoder_input_ids ?? [])], options]);

describe("forward", () => {
  const reader = (config: object = {}) =>
    fake_model<Seq2SeqLMOutput>("seq2seq-lm", { forward: echo }, { config, input_names: TEXTS });

  test("both halves of a batch lose their padding, each its own", async () => {
    const { model, calls } = reader();
    const { logits, encoder_last_hidden_state } = await model({
      input_ids: [
        [5, 6, 7],
        [8, 0, 0],
      ],
      attention_mask: [
        [1, 1, 1],
        [1, 0, 0],
      ],
      decoder_input_ids: [
        [1, 2],
        [3, 0],
      ],
      decoder_attention_mask: [
        [1, 1],
        [1, 0],
      ],
    });
    expect(asked(calls)).toEqual([
      [[5, 6, 7], [1, 2], {}],
      [[8], [3], {}],
    ]);
    expect(logits.dims).toEqual([2, 2, 3]);
    expect(logits.slice(null, null, 0).tolist()).toEqual([
      [1, 2],
      [3, 0],
    ]);
    expect(encoder_last_hidden_state.tolist()).toEqual([
      [[5], [6], [7]],
      [[8], [0], [0]],
    ]);
  });

  test("hidden states are those of both halves, where they are asked for", async () => {
    const states = (ids: Uint32Array) => array([ids.length, 1], ids);
    const forward: Answers["forward"] = (ids, options) => ({
      ...echo(ids, options),
      "encoder_hidden_states.0": states(ids),
      "encoder_hidden_states.1": states(ids.map((id) => 2 * id)),
      "decoder_hidden_states.0": states(options.decoder_input_ids ?? new Uint32Array()),
    });
    const { model, calls } = fake_model<Seq2SeqLMOutput>("seq2seq-lm", { forward }, { input_names: TEXTS });
    const { encoder_hidden_states, decoder_hidden_states } = await model({
      input_ids: [[5, 6, 7]],
      decoder_input_ids: [[1, 2]],
      output_hidden_states: true,
    });
    expect(asked(calls)).toEqual([[[5, 6, 7], [1, 2], { output_hidden_states: true }]]);
    expect(encoder_hidden_states.map((state) => state.tolist())).toEqual([[[[5], [6], [7]]], [[[10], [12], [14]]]]);
    expect(decoder_hidden_states.map((state) => state.tolist())).toEqual([[[[1], [2]]]]);
  });

  test("attention weights lie where their tokens do, of both halves and between them", async () => {
    const shares = (rows: Uint32Array, columns: Uint32Array) =>
      array(
        [1, rows.length, columns.length],
        [...rows].flatMap((row) => [...columns].map((column) => 10 * row + column)),
      );
    const forward: Answers["forward"] = (ids, options) => {
      const written = options.decoder_input_ids ?? new Uint32Array();
      return {
        ...echo(ids, options),
        "decoder_attentions.0": shares(written, written),
        "encoder_attentions.0": shares(ids, ids),
        "cross_attentions.0": shares(written, ids),
      };
    };
    const { model } = fake_model<Seq2SeqLMOutput>("seq2seq-lm", { forward }, { input_names: TEXTS });
    const { encoder_attentions, decoder_attentions, cross_attentions } = await model({
      input_ids: [
        [5, 6, 7],
        [0, 8, 9],
      ],
      attention_mask: [
        [1, 1, 1],
        [0, 1, 1],
      ],
      decoder_input_ids: [
        [1, 2],
        [3, 0],
      ],
      decoder_attention_mask: [
        [1, 1],
        [1, 0],
      ],
      output_attentions: true,
    });
    const of = (layers: { tolist(): unknown }[]) => layers.map((layer) => layer.tolist());
    expect(of(cross_attentions)).toEqual([
      [
        [
          [
            [15, 16, 17],
            [25, 26, 27],
          ],
        ],
        [
          [
            [0, 38, 39],
            [0, 0, 0],
          ],
        ],
      ],
    ]);
    expect(of(decoder_attentions)).toEqual([
      [
        [
          [
            [11, 12],
            [21, 22],
          ],
        ],
        [
          [
            [33, 0],
            [0, 0],
          ],
        ],
      ],
    ]);
    expect(encoder_attentions[0]?.at(1).tolist()).toEqual([
      [
        [0, 0, 0],
        [0, 88, 89],
        [0, 98, 99],
      ],
    ]);
  });

  test("labels are shifted for the decoder, and give a loss", async () => {
    const { model, calls } = reader({ decoder_start_token_id: 1, pad_token_id: 0 });
    const { loss } = await model({ input_ids: [5], labels: [[2, -100, -100]] });
    expect(asked(calls)).toEqual([[[5], [1, 2, 0], {}]]);
    expect(loss.item()).toBeCloseTo(Math.log(Math.E + 2), 6);
    const own = await model({ input_ids: [5], labels: [0, 1], decoder_input_ids: [0, 0] });
    expect(own.loss.item()).toBeCloseTo(Math.log(3), 6);
    await expect(model({ input_ids: [5], labels: [0, 1], decoder_input_ids: [0] })).rejects.toMatchObject({
      code: "LABELS",
    });
    await expect(reader().model({ input_ids: [5], labels: [0] })).rejects.toMatchObject({ code: "INPUT_IDS" });
    const unpadded = reader({ decoder_start_token_id: 1 }).model;
    await expect(unpadded({ input_ids: [5], labels: [-100, 2] })).rejects.toMatchObject({ code: "LABELS" });
  });

  test("sound is read one spectrogram at a time", async () => {
    const config = { num_mel_bins: 1, max_source_positions: 1 };
    const { model, calls } = fake_model<Seq2SeqLMOutput>(
      "speech-seq2seq",
      { forward: echo },
      { config, input_names: SOUND },
    );
    const input_features = new Tensor("float32", [1, 2, 3, 4], [2, 1, 2]);
    const { encoder_last_hidden_state } = await model({ input_features, decoder_input_ids: [[1], [2]] });
    expect(encoder_last_hidden_state.tolist()).toEqual([
      [[1], [2]],
      [[3], [4]],
    ]);
    expect(calls.map(({ ids, options }) => [ids, Object.keys(options).sort()])).toEqual(
      [0, 1].map(() => [[], ["decoder_input_ids", "input_features"]]),
    );
    const wrong = [undefined, new Tensor("float32", [1, 2], [1, 2, 1]), new Tensor("int32", [1, 2], [1, 1, 2])];
    for (const features of wrong) {
      const inputs = { input_features: features as never, decoder_input_ids: [1] };
      await expect(model(inputs)).rejects.toMatchObject({
        code: "INPUT_FEATURES",
        message: expect.stringContaining("[batch, 1, 2]"),
      });
      await expect(model.generate({ input_features: features as never })).rejects.toMatchObject({
        code: "INPUT_FEATURES",
      });
    }
  });

  test("what makes no sense is a typed error", async () => {
    const { model, calls } = reader({ decoder_start_token_id: 1 });
    const refused: [object, string][] = [
      [{}, "INPUT_IDS"],
      [{ decoder_input_ids: [[1], [2]] }, "INPUT_IDS"],
      [{ decoder_input_ids: [1, 2], decoder_attention_mask: [1] }, "INPUT_IDS"],
      [{ decoder_input_ids: [1], output_hidden_states: 1 }, "UNSUPPORTED_OPTION"],
      [{ decoder_input_ids: [1], output_attentions: 1 }, "UNSUPPORTED_OPTION"],
      [{ decoder_input_ids: [1], input_features: new Tensor("float32", [1], [1, 1, 1]) }, "UNSUPPORTED_OPTION"],
      [{ decoder_input_ids: [1], token_type_ids: [1] }, "INPUT_IDS"],
      [{ decoder_input_ids: [1], logits_to_keep: 1 }, "UNSUPPORTED_OPTION"],
    ];
    for (const [inputs, code] of refused) {
      await expect(model({ input_ids: [5], ...inputs })).rejects.toMatchObject({ code });
    }
    expect(calls).toEqual([]);
    const decoder = fake_model("causal-lm", {}).model;
    await expect(decoder({ input_ids: [5], decoder_input_ids: [1] })).rejects.toMatchObject({
      code: "UNSUPPORTED_OPTION",
    });
    await expect(decoder.generate({ input_ids: [5], forced_bos_token_id: 1 })).rejects.toMatchObject({
      code: "UNSUPPORTED_OPTION",
    });
  });
});

describe("generate", () => {
  test("each text begins as the call, the repo's options, its config, or bos_token_id say", async () => {
    const starts = async (config: object, generation_config: object, options: object = {}) => {
      const { model } = writer(config, generation_config);
      return (await model.generate({ input_ids: [5, 6], max_new_tokens: 1, ...options })).tolist();
    };
    expect(await starts({ decoder_start_token_id: 1 }, {})).toEqual([[1n, 100n]]);
    expect(await starts({ decoder_start_token_id: 1 }, { decoder_start_token_id: 2 })).toEqual([[2n, 100n]]);
    expect(await starts({ decoder_start_token_id: 1 }, { bos_token_id: 2 })).toEqual([[1n, 100n]]);
    expect(await starts({ bos_token_id: 3 }, {})).toEqual([[3n, 100n]]);
    expect(await starts({ bos_token_id: 3 }, {}, { bos_token_id: 4 })).toEqual([[4n, 100n]]);
    expect(await starts({ bos_token_id: 3 }, {}, { decoder_start_token_id: 4 })).toEqual([[4n, 100n]]);
    expect(await starts({ bos_token_id: 3 }, {}, { generation_config: { decoder_start_token_id: 4 } })).toEqual([
      [4n, 100n],
    ]);
    await expect(starts({}, {})).rejects.toMatchObject({ code: "INPUT_IDS" });
  });

  test("a beginning is the decoder's; the start goes before it, but for Whisper", async () => {
    const { model } = writer({ decoder_start_token_id: 1 });
    const options = { input_ids: [5], max_new_tokens: 1 };
    expect((await model.generate({ ...options, decoder_input_ids: [1, 7] })).tolist()).toEqual([[1n, 7n, 100n]]);
    expect((await model.generate({ ...options, decoder_input_ids: [7] })).tolist()).toEqual([[1n, 7n, 100n]]);
    await expect(model.generate({ ...options, decoder_input_ids: [[7], [8]] })).rejects.toMatchObject({
      code: "INPUT_IDS",
    });
    const config = { model_type: "whisper", decoder_start_token_id: 1 };
    const whisper = fake_model("speech-seq2seq", counting, { config, input_names: SOUND });
    const input_features = new Tensor("float32", [1, 2], [1, 1, 2]);
    const written = await whisper.model.generate({ input_features, decoder_input_ids: [7], max_new_tokens: 1 });
    expect(written.tolist()).toEqual([[7n, 100n]]);
    const by_other_name = await whisper.model.generate({ inputs: input_features, max_new_tokens: 1 });
    expect(by_other_name.tolist()).toEqual([[1n, 100n]]);
    expect(whisper.calls[1]?.options).toMatchObject({ input_features: Float32Array.of(1, 2) });
  });

  test("lengths are the decoder's; texts that are read lose their padding", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const { model, calls } = writer({ decoder_start_token_id: 1, pad_token_id: 0, eos_token_id: 9 }, {});
    const batch = {
      input_ids: [
        [5, 6, 7],
        [8, 0, 0],
      ],
    };
    const output = await model.generate({ ...batch, max_length: 3, min_new_tokens: 1, do_sample: true, seed: 4 });
    expect(output.tolist()).toEqual([
      [1n, 100n, 101n],
      [1n, 100n, 101n],
    ]);
    const options = { max_length: 3, min_length: 2, do_sample: true };
    expect(asked(calls)).toEqual([
      [[5, 6, 7], [1], { ...options, seed: 4 }],
      [[8], [1], { ...options, seed: 5 }],
    ]);
    expect(warn).not.toHaveBeenCalled();
  });

  test("without a length it is the repo's, else 20 new tokens", async () => {
    const length = async (config: object, generation_config: object, options: object = {}) =>
      (await writer({ bos_token_id: 1, ...config }, generation_config).model.generate({ input_ids: [5], ...options }))
        .dims[1];
    expect(await length({}, {})).toBe(21);
    expect(await length({ max_length: 6 }, {})).toBe(6);
    expect(await length({ max_length: 6 }, { max_length: 7 })).toBe(7);
    expect(await length({ max_length: 6 }, { eos_token_id: 9 })).toBe(21);
    expect(await length({}, { max_length: 7, max_new_tokens: 3 })).toBe(4);
    expect(await length({}, { max_length: 7, max_new_tokens: 3 }, { max_length: 5 })).toBe(5);
    await expect(length({}, {}, { max_length: 1 })).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
  });

  test("forced ids are the first and the last, and count", async () => {
    const put: bigint[][][] = [];
    const streamer = { put: (ids: bigint[][]) => put.push(ids), end: vi.fn() };
    const repo = { decoder_start_token_id: 2, forced_bos_token_id: 0, forced_eos_token_id: 2, eos_token_id: 2 };
    const { model, calls } = writer({}, repo);
    const output = await model.generate({ input_ids: [5], max_new_tokens: 4, streamer });
    expect(output.tolist()).toEqual([[2n, 0n, 100n, 101n, 2n]]);
    expect(asked(calls)).toEqual([[[5], [2, 0], { max_length: 4 }]]);
    expect(put).toEqual([[[2n]], [[0n]], [[100n]], [[101n]], [[2n]]]);
    expect(streamer.end).toHaveBeenCalledTimes(1);
    const ids = async (options: object) => [...(await model.generate({ input_ids: [5], ...options })).data];
    expect(await ids({ max_new_tokens: 1 })).toEqual([2n, 2n]);
    expect(await ids({ max_new_tokens: 2 })).toEqual([2n, 0n, 2n]);
    expect(await ids({ max_new_tokens: 2, forced_bos_token_id: 8, forced_eos_token_id: [7, 6] })).toEqual([2n, 8n, 6n]);
    expect(await ids({ max_new_tokens: 2, decoder_input_ids: [2, 4] })).toEqual([2n, 4n, 100n, 2n]);
    expect(await ids({ max_new_tokens: 9, forced_bos_token_id: 2 })).toEqual([2n, 2n]);
  });

  test("a text that ends by itself has no forced end", async () => {
    const repo = { decoder_start_token_id: 2, forced_eos_token_id: 9, eos_token_id: 101 };
    const { model } = fake_model(
      "seq2seq-lm",
      { generate: () => [100, 101] },
      { generation_config: repo, input_names: TEXTS },
    );
    expect((await model.generate({ input_ids: [5], max_length: 4 })).tolist()).toEqual([[2n, 100n, 101n]]);
    const stop = new InterruptableStoppingCriteria();
    stop.interrupt();
    const stopped = await model.generate({ input_ids: [5], max_length: 3, stopping_criteria: stop });
    expect(stopped.tolist()).toEqual([[2n, 100n]]);
  });

  test("where the repo asks for beams, the search is told what is forced", async () => {
    const found = [[100, 101], [102]];
    const repo = {
      decoder_start_token_id: 2,
      num_beams: 4,
      forced_bos_token_id: 0,
      forced_eos_token_id: 9,
      min_length: 3,
    };
    const { model, calls } = fake_model(
      "seq2seq-lm",
      { ...counting, beam_search: () => found },
      { generation_config: { ...repo, max_length: 8 }, input_names: TEXTS },
    );
    const output = await model.generate({ input_ids: [5], num_return_sequences: 2, pad_token_id: 1 });
    expect(output.tolist()).toEqual([
      [2n, 100n, 101n],
      [2n, 102n, 1n],
    ]);
    const options = { max_length: 8, min_length: 3, forced_bos_token_id: 0, forced_eos_token_id: 9 };
    expect(asked(calls)).toEqual([[[5], [2], { ...options, num_return_sequences: 2, pad_token_id: 1 }]]);
    calls.length = 0;
    // What isn't searched is written as before.
    await model.generate({ input_ids: [5], generation_config: { num_beams: 1 } });
    expect(asked(calls)).toEqual([[[5], [2, 0], { max_length: 7, min_length: 3, num_beams: 1 }]]);
  });
});
