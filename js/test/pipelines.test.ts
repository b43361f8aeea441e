import { afterEach, describe, expect, test, vi } from "vitest";
import type { Task } from "../src/engine.js";
import type { Seq2SeqLMOutput } from "../src/outputs.js";
import { FeatureExtractionPipeline } from "../src/pipelines/feature_extraction.js";
import { FillMaskPipeline } from "../src/pipelines/fill_mask.js";
import { pipeline } from "../src/pipelines/index.js";
import type { PipelineParts } from "../src/pipelines/pipeline.js";
import { best_spans, QuestionAnsweringPipeline } from "../src/pipelines/question_answering.js";
import { sigmoid, softmax, top_k } from "../src/pipelines/scores.js";
import { SummarizationPipeline, Text2TextGenerationPipeline, TranslationPipeline } from "../src/pipelines/seq2seq.js";
import { TextClassificationPipeline } from "../src/pipelines/text_classification.js";
import { TextGenerationPipeline } from "../src/pipelines/text_generation.js";
import { groups_of, TokenClassificationPipeline } from "../src/pipelines/token_classification.js";
import { ZeroShotClassificationPipeline } from "../src/pipelines/zero_shot_classification.js";
import { type Answers, array, type FakeFacts, fake_model } from "./support/fake_backend.js";
import { golden, tokenizer_of, word_pieces } from "./support/tokenizers.js";

const { log } = Math;

/** The words of the tokenizer, which have these ids. */
const WORDS = ["red", "green", "blue", "is", "##ish", "what", "sky"];
const [RED, GREEN, BLUE, IS, ISH] = [5, 6, 7, 8, 9];
const SEP = 3;
const MASK = 4;
const TYPED = ["input_ids", "attention_mask", "token_type_ids"];

/** The pipeline of a class over a model that answers as the test says. */
async function made<Output, P>(
  Made: new (parts: PipelineParts<Output>) => P,
  task: Task,
  answers: Answers,
  {
    input_names = TYPED,
    tokenizer = {},
    name = "the-task",
    ...facts
  }: FakeFacts & { tokenizer?: object; name?: string } = {},
) {
  const { model, calls } = fake_model<Output>(task, answers, { input_names, ...facts });
  const of_words = await word_pieces(WORDS, { model_max_length: 12, ...tokenizer });
  return { pipe: new Made({ task: name, model, tokenizer: of_words }), calls };
}

/** Numbers of an answer that came through float32. */
const rounded = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, v) => (typeof v === "number" && !Number.isInteger(v) ? +v.toFixed(5) : v)));

afterEach(() => {
  vi.restoreAllMocks();
});

describe("scores", () => {
  test("are probabilities, best first", () => {
    expect(softmax([log(1), log(3)])).toEqual([expect.closeTo(0.25), expect.closeTo(0.75)]);
    expect(softmax([1000, 1000, Number.NEGATIVE_INFINITY])).toEqual([0.5, 0.5, 0]);
    expect(sigmoid([0, log(3)])).toEqual([0.5, expect.closeTo(0.75)]);
    expect(top_k([0.2, 0.5, 0.2], 2).map(({ index }) => index)).toEqual([1, 0]);
    expect(top_k([0.2, 0.5, 0.2], null).map(({ index }) => index)).toEqual([1, 0, 2]);
  });
});

describe("text-classification", () => {
  const config = { id2label: { 0: "calm", 1: "angry", 2: "glad" } };
  /** The more red, the angrier. */
  const answers = {
    forward: (ids: Uint32Array) => {
      const red = ids.filter((id) => id === RED).length;
      return { logits: array([3], [log(1), log(1 + 2 * red), log(2)]) };
    },
  };

  test("the best class, some of them, or all", async () => {
    const { pipe, calls } = await made(TextClassificationPipeline, "sequence-classification", answers, { config });
    expect(rounded(await pipe("red sky"))).toEqual([{ label: "angry", score: 0.5 }]);
    expect(rounded(await pipe(["red", "blue sky"]))).toEqual([
      { label: "angry", score: 0.5 },
      { label: "glad", score: 0.5 },
    ]);
    expect((await pipe("red", { top_k: null })).map(({ label }) => label)).toEqual(["angry", "glad", "calm"]);
    expect((await pipe(["red", "sky"], { top_k: 2 })).map((of_text) => of_text.map(({ label }) => label))).toEqual([
      ["angry", "glad"],
      ["glad", "calm"],
    ]);
    // Without padding, and with the types that the model has.
    expect(calls.at(1)).toEqual({ ids: [2, RED, SEP], options: { token_type_ids: new Uint32Array(3) } });
  });

  test("each class by itself where the config says so, or where there is but one", async () => {
    const several = { config: { ...config, problem_type: "multi_label_classification" } };
    const { pipe } = await made(TextClassificationPipeline, "sequence-classification", answers, several);
    expect(rounded(await pipe("red"))).toEqual([{ label: "angry", score: 0.75 }]);
    const single = { forward: () => ({ logits: array([1], [log(4)]) }) };
    const one = await made(TextClassificationPipeline, "sequence-classification", single, {
      config: { num_labels: 1 },
    });
    expect(rounded(await one.pipe("red"))).toEqual([{ label: "LABEL_0", score: 0.8 }]);
  });

  test("long texts are cut to what the tokenizer and the model can read", async () => {
    const red = Array(20).fill("red").join(" ");
    const length = async (max_positions: number | undefined) => {
      const facts = { config, max_positions };
      const { pipe, calls } = await made(TextClassificationPipeline, "sequence-classification", answers, facts);
      await pipe(red);
      return calls[0]?.ids.length;
    };
    expect(await length(undefined)).toBe(12);
    expect(await length(512)).toBe(12);
    expect(await length(8)).toBe(8);
  });

  test.each([[[]], [3], [["red", 3]], [null]])("%o is no text", async (texts) => {
    const { pipe } = await made(TextClassificationPipeline, "sequence-classification", answers, { config });
    await expect(pipe(texts as never)).rejects.toMatchObject({ code: "TOKENIZER" });
  });
});

describe("feature-extraction", () => {
  /** Of each token its id, and 1. */
  const answers = {
    forward: (ids: Uint32Array) => ({
      last_hidden_state: array(
        [ids.length, 2],
        [...ids].flatMap((id) => [id, 1]),
      ),
    }),
  };

  test("tokens, or texts", async () => {
    const { pipe } = await made(FeatureExtractionPipeline, "base", answers);
    const tokens = await pipe(["red", "red green"]);
    expect(tokens.dims).toEqual([2, 4, 2]);
    expect(tokens.at(0).tolist()).toEqual([
      [2, 1],
      [RED, 1],
      [SEP, 1],
      [0, 0],
    ]);
    const mean = await pipe(["red", "red green"], { pooling: "mean" });
    expect(rounded(mean.tolist())).toEqual([
      [3.33333, 1],
      [4, 1],
    ]);
    expect((await pipe(["red", "red green"], { pooling: "cls" })).tolist()).toEqual([
      [2, 1],
      [2, 1],
    ]);
    expect((await pipe(["red", "red green"], { pooling: "last_token" })).tolist()).toEqual([
      [3, 1],
      [3, 1],
    ]);
    expect(rounded((await pipe("red", { pooling: "mean", normalize: true })).tolist())).toEqual([[0.95783, 0.28735]]);
  });

  test("wrong options are refused", async () => {
    const { pipe } = await made(FeatureExtractionPipeline, "base", answers);
    for (const wrong of [{ pooling: "median" }, { precision: "int4" }, { norm: true }]) {
      await expect(pipe("red", wrong as never)).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
    }
    await expect(pipe("red", { pooling: "mean", quantize: true })).rejects.toMatchObject({ code: "TENSOR" });
  });
});

describe("fill-mask", () => {
  /** After "is": red 4, green 3, blue 1 of 8. */
  const answers = {
    forward: (ids: Uint32Array) => ({
      logits: array(
        [ids.length, 8],
        [...ids].flatMap((id) => (id === MASK ? [0, 0, 0, 0, 0, 4, 3, 1] : [1, 0, 0, 0, 0, 0, 0, 0])).map(log),
      ),
    }),
  };

  test("the likeliest tokens, and the texts with them", async () => {
    const { pipe } = await made(FillMaskPipeline, "masked-lm", answers);
    expect(rounded(await pipe("sky is [MASK]", { top_k: 2 }))).toEqual([
      { score: 0.5, token: RED, token_str: "red", sequence: "sky is red" },
      { score: 0.375, token: GREEN, token_str: "green", sequence: "sky is green" },
    ]);
    const [first, second] = await pipe(["[MASK] sky", "sky"].map((text) => text.replace(/^sky$/, "what is [MASK]")));
    expect([first?.length, first?.[0]?.sequence, second?.[2]?.sequence]).toEqual([5, "red sky", "what is blue"]);
  });

  test("a text without a mask is an error that shows it", async () => {
    const { pipe } = await made(FillMaskPipeline, "masked-lm", answers);
    await expect(pipe("sky is blue")).rejects.toMatchObject({
      code: "TOKENIZER",
      message: 'There is no [MASK] in: "sky is blue".',
    });
  });
});

describe("token-classification", () => {
  const config = { id2label: { 0: "O", 1: "B-COL", 2: "I-COL" } };
  const classes: Record<number, number[]> = { [RED]: [1, 3, 0], [ISH]: [1, 0, 4], [GREEN]: [1, 7, 0] };
  const answers = {
    forward: (ids: Uint32Array) => ({
      logits: array(
        [ids.length, 3],
        [...ids].flatMap((id) => (classes[id] ?? [1, 0, 0]).map(log)),
      ),
    }),
  };

  test("tokens with their classes and places", async () => {
    const { pipe } = await made(TokenClassificationPipeline, "token-classification", answers, { config });
    expect(rounded(await pipe("sky is redish"))).toEqual([
      { entity: "B-COL", score: 0.75, index: 3, word: "red", start: 7, end: 10 },
      { entity: "I-COL", score: 0.8, index: 4, word: "##ish", start: 10, end: 13 },
    ]);
    const all = await pipe(["sky", "red"], { ignore_labels: [] });
    expect(all.map((of_text) => of_text.map(({ entity }) => entity))).toEqual([["O"], ["B-COL"]]);
  });

  test("entities of several tokens", async () => {
    const { pipe } = await made(TokenClassificationPipeline, "token-classification", answers, { config });
    expect(rounded(await pipe("redish is green", { aggregation_strategy: "simple" }))).toEqual([
      { entity_group: "COL", score: 0.775, word: "redish", start: 0, end: 6 },
      { entity_group: "COL", score: 0.875, word: "green", start: 10, end: 15 },
    ]);
  });

  test.each([
    ["B-A I-A B-A", ["A2", "A1"]],
    ["I-A I-A I-B", ["A2", "B1"]],
    ["S-A I-A E-A I-A", ["A1", "A2", "A1"]],
    ["E-A I-A", ["A2"]],
    ["A A", ["A2"]],
  ])("%s are %o", (labels, expected) => {
    const groups = groups_of(labels.split(" ").map((entity) => ({ entity })));
    expect(groups.map(({ entity_group, members }) => `${entity_group}${members.length}`)).toEqual(expected);
  });
});

describe("question-answering", () => {
  /** Starts at "red", ends at "green" or at "blue", both more so in the question than in the context. */
  const weights: Record<number, [number, number]> = { [RED]: [3, 1], [GREEN]: [1, 2], [BLUE]: [1, 4], [IS]: [1, 1] };
  const answers = {
    forward: (ids: Uint32Array) => ({
      logits: array(
        [ids.length, 2],
        [...ids].flatMap((id) => (weights[id] ?? [1, 1]).map(log)),
      ),
    }),
  };

  test("the best span of the context", async () => {
    const { pipe, calls } = await made(QuestionAnsweringPipeline, "question-answering", answers);
    // Starts: [CLS] 1, red 3, green 1, blue 1 of 6. Ends: 1, 1, 2, 4 of 8.
    expect(rounded(await pipe("what is blue", "red green blue"))).toEqual({ answer: "red green blue", score: 0.25 });
    expect(calls[0]?.options).toEqual({ token_type_ids: Uint32Array.of(0, 0, 0, 0, 0, 1, 1, 1, 1) });
    expect(rounded(await pipe("what is blue", "red green blue", { top_k: 2 }))).toEqual([
      { answer: "red green blue", score: 0.25 },
      { answer: "red green", score: 0.125 },
    ]);
    expect(rounded(await pipe(["what", "what is"], ["sky", "red green"]))).toEqual([
      // Of two that are as likely, the one that begins first.
      { answer: "sky", score: 0.25 },
      { answer: "red green", score: 0.3 },
    ]);
  });

  test("spans lie in the context, end after they start, and are sorted", () => {
    const spans = best_spans(
      [0, 9, log(2), log(1)],
      [0, 9, log(3), log(1)],
      { context: [false, false, true, true], none: 0 },
      9,
    );
    expect(rounded(spans)).toEqual([
      { start: 2, end: 2, score: 0.3 },
      { start: 2, end: 3, score: 0.1 },
      { start: 3, end: 3, score: 0.05 },
    ]);
  });

  test("what doesn't fit together is refused", async () => {
    const { pipe } = await made(QuestionAnsweringPipeline, "question-answering", answers);
    await expect(pipe(["what"], ["sky", "red"])).rejects.toMatchObject({ code: "TOKENIZER" });
    await expect(pipe("what", "sky", { top_k: 0 })).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
  });
});

describe("zero-shot-classification", () => {
  const config = { id2label: { 0: "ENTAILMENT", 1: "neutral", 2: "CONTRADICTION" } };
  /** Entails red three times as much as others; contradicts nothing. */
  const answers = {
    forward: (ids: Uint32Array) => {
      const hypothesis = ids.slice(ids.indexOf(SEP) + 1);
      return { logits: array([3], [log(hypothesis.includes(RED) ? 3 : 1), 9, log(1)]) };
    },
  };

  test("how far each candidate is entailed", async () => {
    const { pipe, calls } = await made(ZeroShotClassificationPipeline, "sequence-classification", answers, { config });
    const options = { hypothesis_template: "sky is {}" };
    expect(rounded(await pipe("what is", ["blue", "red"], options))).toEqual({
      sequence: "what is",
      labels: ["red", "blue"],
      scores: [0.75, 0.25],
    });
    expect(calls[0]?.ids).toEqual([2, 10, IS, SEP, 11, IS, BLUE, SEP]);
    expect(rounded(await pipe(["what"], ["blue", "red"], { ...options, multi_label: true }))).toEqual([
      { sequence: "what", labels: ["red", "blue"], scores: [0.75, 0.5] },
    ]);
    expect(rounded(await pipe("what", "red", options))).toMatchObject({ labels: ["red"], scores: [0.75] });
  });

  test("a model that says not how its classes are called is guessed at, or refused", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    await made(ZeroShotClassificationPipeline, "sequence-classification", answers, { config: { num_labels: 3 } });
    expect(warn).toHaveBeenCalledTimes(2);
    const two = made(ZeroShotClassificationPipeline, "sequence-classification", answers, { config: { num_labels: 2 } });
    await expect(two).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});

describe("text-generation", () => {
  const answers = { generate: () => [BLUE, IS] };
  const decoder = { input_names: ["input_ids", "attention_mask"], config: { pad_token_id: 0, eos_token_id: SEP } };
  const chat = [{ role: "user", content: "what is" }];
  const tokenizer = { chat_template: "{% for m in messages %}{{ m.content }} {% endfor %}sky" };

  test("a text and what follows it, or that alone", async () => {
    const { pipe, calls } = await made(TextGenerationPipeline, "causal-lm", answers, decoder);
    expect(await pipe("what is")).toEqual([{ generated_text: "what is blue is" }]);
    expect(calls[0]).toEqual({ ids: [10, IS], options: { max_new_tokens: 256 } });
    expect(await pipe("what is", { return_full_text: false, max_length: 9 })).toEqual([{ generated_text: " blue is" }]);
    expect(calls[1]?.options).toEqual({ max_length: 9 });
    await pipe("sky", { add_special_tokens: true, generation_config: { max_new_tokens: 3 } });
    expect(calls[2]).toEqual({ ids: [2, 11, SEP], options: { max_new_tokens: 3 } });
  });

  test("several texts are padded on the left, and come one list each", async () => {
    const { pipe, calls } = await made(TextGenerationPipeline, "causal-lm", answers, decoder);
    expect(await pipe(["sky", "what is"])).toEqual([
      [{ generated_text: "sky blue is" }],
      [{ generated_text: "what is blue is" }],
    ]);
    expect(calls.map(({ ids }) => ids)).toEqual([[11], [10, IS]]);
  });

  test("a chat gets its answer as another message", async () => {
    const { pipe, calls } = await made(TextGenerationPipeline, "causal-lm", answers, { ...decoder, tokenizer });
    const answered = [...chat, { role: "assistant", content: " blue is" }];
    expect(await pipe(chat)).toEqual([{ generated_text: answered }]);
    expect(calls[0]?.ids).toEqual([10, IS, 11]);
    expect(await pipe([chat])).toEqual([[{ generated_text: answered }]]);
  });

  test("a streamer gets the ids of one text", async () => {
    const { pipe } = await made(TextGenerationPipeline, "causal-lm", answers, decoder);
    const put: bigint[][][] = [];
    await pipe("sky", { streamer: { put: (ids) => put.push(ids), end() {} } });
    expect(put).toEqual([[[11n]], [[BigInt(BLUE)]], [[BigInt(IS)]]]);
  });

  test("what is neither text nor chat, and nothing at all, are refused", async () => {
    const { pipe } = await made(TextGenerationPipeline, "causal-lm", answers, decoder);
    for (const wrong of [[], 3, [chat, "sky"], [[]]]) {
      await expect(pipe(wrong as never)).rejects.toMatchObject({ code: "TOKENIZER" });
    }
    await expect(pipe("")).rejects.toMatchObject({ code: "INPUT_IDS" });
    await expect(pipe("sky", { num_beam_groups: 3 } as never)).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
  });
});

test("a pipeline knows its task, model and tokenizer", async () => {
  const { pipe } = await made(FillMaskPipeline, "masked-lm", {});
  expect([pipe.task, pipe.tokenizer.mask_token, pipe.model.config]).toEqual(["the-task", "[MASK]", {}]);
  await pipe.dispose();
  await expect(pipe("[MASK]")).rejects.toMatchObject({ code: "DISPOSED" });
});

test.each([
  ["conversational", "org/name", {}, "UNSUPPORTED_TASK", "Tasks: automatic-speech-recognition, feature-extraction"],
  ["toString", "org/name", {}, "UNSUPPORTED_TASK", "toString"],
  ["fill-mask", undefined, {}, "INVALID_REPO_ID", 'pipeline("fill-mask", …)'],
  ["ner", "org/name", { output_loading_info: true }, "UNSUPPORTED_OPTION", "apart"],
])("pipeline(%o, %o, %o) is refused", async (task, model, options, code, why) => {
  await expect(pipeline(task as never, model as never, options as never)).rejects.toMatchObject({
    code,
    message: expect.stringContaining(why),
  });
});

describe("texts of texts", () => {
  const config = { decoder_start_token_id: SEP, eos_token_id: SEP, pad_token_id: 0, prefix: "sky " };
  const input_names = ["input_ids", "attention_mask", "decoder_input_ids"];
  const answers: Answers = { generate: (ids) => [...ids.filter((id) => id > MASK), SEP] };
  const asked = { config, input_names };

  test("each has an answer by its task's name, without special tokens", async () => {
    const [translate, summarize, rewrite] = await Promise.all([
      made(TranslationPipeline, "seq2seq-lm", answers, asked),
      made(SummarizationPipeline, "seq2seq-lm", answers, asked),
      made(Text2TextGenerationPipeline, "seq2seq-lm", answers, asked),
    ]);
    expect(await translate.pipe("red")).toEqual([{ translation_text: "sky red" }]);
    expect(await summarize.pipe(["red", "green is blue"])).toEqual([
      { summary_text: "sky red" },
      { summary_text: "sky green is blue" },
    ]);
    expect(await rewrite.pipe("red", { max_new_tokens: 3 })).toEqual([{ generated_text: "sky red" }]);
    expect(rewrite.calls[0]?.options).toMatchObject({ max_length: 4 });
    // Without padding.
    expect(summarize.calls[0]?.ids).toHaveLength(4);
  });

  test("a model that is told its task in words is told it", async () => {
    const told = { ...config, task_specific_params: { translation_en_to_de: { prefix: "green " }, other: null } };
    for (const [name, expected] of [
      ["translation_en_to_de", "green red"],
      ["translation_en_to_fr", "sky red"],
      ["other", "sky red"],
    ] as const) {
      const { pipe } = await made(TranslationPipeline, "seq2seq-lm", answers, { ...asked, config: told, name });
      expect(await pipe("red")).toEqual([{ translation_text: expected }]);
    }
  });

  test("a tokenizer that knows languages is told them", async () => {
    const [nllb] = golden("languages.json");
    const tokenizer = await tokenizer_of(nllb.tokenizer, nllb.config);
    const id_of = (token: string) => tokenizer.token_to_id(token) ?? -1;
    const { model, calls } = fake_model<Seq2SeqLMOutput>(
      "seq2seq-lm",
      { generate: (ids) => [...ids.slice(1)], beam_search: (ids) => [[...ids.slice(1)]] },
      { config: { decoder_start_token_id: 2, eos_token_id: 2, pad_token_id: 1 }, input_names },
    );
    const pipe = new TranslationPipeline({ task: "translation", model, tokenizer });
    const languages = { src_lang: "deu_Latn", tgt_lang: "fra_Latn" };
    expect(await pipe("hello world", languages)).toEqual([{ translation_text: "hello world" }]);
    expect(calls[0]?.ids[0]).toBe(id_of("deu_Latn"));
    const { decoder_input_ids } = calls[0]?.options ?? {};
    expect(decoder_input_ids?.[1]).toBe(id_of("fra_Latn"));
    await pipe("hello world", { ...languages, num_beams: 2 });
    expect(calls[1]?.options).toMatchObject({ forced_bos_token_id: id_of("fra_Latn"), num_beams: 2 });
    for (const [options, why] of [
      [{}, "a src_lang and a tgt_lang"],
      [{ src_lang: "eng_Latn" }, "a src_lang and a tgt_lang"],
      [{ ...languages, tgt_lang: "nonsense" }, "no such language"],
      [{ ...languages, src_lang: "nonsense" }, "no language"],
    ] as const) {
      await expect(pipe("hello", options)).rejects.toThrow(why);
    }
    expect(tokenizer.src_lang).toBe("deu_Latn");
  });

  test("languages, and what generate doesn't know, are refused", async () => {
    const { pipe } = await made(TranslationPipeline, "seq2seq-lm", answers, asked);
    for (const options of [{ src_lang: "eng" }, { tgt_lang: "fra" }, { num_beam_groups: 4 }]) {
      await expect(pipe("red", options as never)).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
    }
    await expect(pipe([])).rejects.toMatchObject({ code: "TOKENIZER" });
  });
});
