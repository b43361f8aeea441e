import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { TokenizeOptions } from "../src/tokenize.js";
import type { PreTrainedTokenizer } from "../src/tokenizer.js";
import { golden, tokenizer_of, word_pieces } from "./support/tokenizers.js";

const { texts, pairs, tokenizers } = golden("tokenized_batches.json");
const small = golden("small_tokenizers.json");

afterEach(() => {
  vi.restoreAllMocks();
});

describe("batches, as transformers makes them", () => {
  for (const [index, { name, cases }] of tokenizers.entries()) {
    const { tokenizer: json, config } = small[index];
    for (const { text_pair, call, input_ids, attention_mask, token_type_ids } of cases) {
      test(`${name}${text_pair ? ", pairs" : ""}: ${JSON.stringify(call)}`, async () => {
        const { truncation_side, padding_side = "right", ...options } = call;
        const tokenizer = await tokenizer_of(json, { ...config, ...(truncation_side && { truncation_side }) });
        tokenizer.padding_side = padding_side;
        const asked = { ...options, ...(text_pair && { text_pair: pairs }), return_token_type_ids: true };
        const found = tokenizer(texts, { ...(asked as TokenizeOptions), return_tensor: false });
        expect(found).toEqual({ input_ids, attention_mask, token_type_ids });
      });
    }
  }
});

test("texts are in the language that the tokenizer was told last", async () => {
  for (const { name, tokenizer: json, config, cases, language_id } of golden("languages.json")) {
    const tokenizer = await tokenizer_of(json, config);
    expect(tokenizer.src_lang, name).toBe(cases[0].src_lang);
    for (const { src_lang, text, pair, ids, decoded } of cases) {
      tokenizer.src_lang = src_lang;
      const { input_ids } = tokenizer(text, { ...(pair && { text_pair: pair }), return_tensor: false });
      expect(input_ids, `${name}, ${src_lang}: ${text}`).toEqual(ids);
      expect(tokenizer.decode(ids, { skip_special_tokens: true }), name).toBe(decoded);
    }
    expect(tokenizer.token_to_id(tokenizer.src_lang ?? "")).toBe(language_id);
  }
  const none = await word_pieces(["a"], {});
  expect(none.src_lang).toBeUndefined();
  expect(() => {
    none.src_lang = "eng_Latn";
  }).toThrow("eng_Latn");
});

describe("a tokenizer of BERT's", () => {
  let tokenizer: PreTrainedTokenizer;
  beforeAll(async () => {
    tokenizer = await word_pieces(["a", "b", "##c"], { model_max_length: 6 });
  });

  test("has the special tokens that its files take for granted", () => {
    const { cls_token, cls_token_id, sep_token_id, mask_token, mask_token_id, pad_token_id, bos_token } = tokenizer;
    expect([cls_token, cls_token_id, sep_token_id, mask_token, mask_token_id, pad_token_id]).toEqual([
      "[CLS]",
      2,
      3,
      "[MASK]",
      4,
      0,
    ]);
    expect(bos_token).toBeUndefined();
    expect(tokenizer.all_special_ids).toEqual([0, 1, 2, 3, 4]);
  });

  test("gives token types, and tensors of batches", () => {
    const { input_ids, attention_mask, token_type_ids } = tokenizer(["a", "bc"], {
      text_pair: ["b", "a"],
      padding: true,
    });
    expect(input_ids.tolist()).toEqual([
      [2n, 5n, 3n, 6n, 3n, 0n],
      [2n, 6n, 7n, 3n, 5n, 3n],
    ]);
    expect(attention_mask.tolist()).toEqual([
      [1n, 1n, 1n, 1n, 1n, 0n],
      [1n, 1n, 1n, 1n, 1n, 1n],
    ]);
    expect(token_type_ids?.tolist()).toEqual([
      [0n, 0n, 0n, 1n, 1n, 0n],
      [0n, 0n, 0n, 0n, 1n, 1n],
    ]);
    expect(tokenizer.batch_decode(input_ids, { skip_special_tokens: true })).toEqual(["a b", "bc a"]);
    expect(tokenizer("a", { return_token_type_ids: false })).not.toHaveProperty("token_type_ids");
  });

  test("cuts at the model's length, or at the one that is asked for", () => {
    const ids = (options: TokenizeOptions) => tokenizer("a a a a a a", { ...options, return_tensor: false }).input_ids;
    expect(ids({ truncation: true })).toEqual([2, 5, 5, 5, 5, 3]);
    expect(ids({ truncation: true, max_length: 3 })).toEqual([2, 5, 3]);
    expect(ids({})).toHaveLength(8);
    expect(ids({ truncation: false, max_length: 3 })).toHaveLength(8);
    expect(ids({ padding: "max_length", max_length: 3 })).toHaveLength(8);
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    expect(ids({ max_length: 4 })).toEqual([2, 5, 5, 3]);
    expect(ids({ max_length: 4 })).toHaveLength(4);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(tokenizer("a", { padding: "max_length" }).input_ids.dims).toEqual([1, 6]);
  });

  test.each([
    [{ truncation: true, max_length: 1 }, "TOKENIZER", "no room for the 2 special tokens"],
    [{ max_length: -1 }, "UNSUPPORTED_OPTION", "number of tokens"],
    [{ padding: "left" }, "UNSUPPORTED_OPTION", "longest"],
    [{ truncation: "only_first" }, "UNSUPPORTED_OPTION", "longer text"],
    [{ text_pair: ["a", "b"] }, "TOKENIZER", "2 text_pair for 1"],
    [{ stride: 1 }, "UNSUPPORTED_OPTION", "no such option"],
  ])("%o is refused", (options, code, why) => {
    expect(() => tokenizer("a", options as TokenizeOptions)).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(why) }),
    );
  });

  test("a length of 1e30 is none", async () => {
    const unlimited = await word_pieces(["a"], { model_max_length: 1e30 });
    expect(unlimited("a a", { truncation: true }).input_ids.dims).toEqual([1, 4]);
    expect(() => unlimited("a", { padding: "max_length" })).toThrowError(/Give max_length/);
  });
});

test("token types are for models that have them", async () => {
  const names = async (config: object) => (await word_pieces(["a"], config)).model_input_names;
  const typed = ["input_ids", "token_type_ids", "attention_mask"];
  const plain = ["input_ids", "attention_mask"];
  expect(await names({})).toEqual(typed);
  expect(await names({ tokenizer_class: "BertTokenizer" })).toEqual(typed);
  expect(await names({ tokenizer_class: "PreTrainedTokenizerFast" })).toEqual(typed);
  expect(await names({ tokenizer_class: "DistilBertTokenizer" })).toEqual(plain);
  expect(await names({ tokenizer_class: "BertTokenizer", model_input_names: plain })).toEqual(plain);
});

test("what the files say goes before what their kind has", async () => {
  const { mask_token, cls_token, eos_token_id } = await word_pieces(["<m>"], { mask_token: "<m>", eos_token: "[SEP]" });
  expect([mask_token, cls_token, eos_token_id]).toEqual(["<m>", "[CLS]", 3]);
});

test("GPT-2's only token has all its parts, where nothing is said of it", async () => {
  const token = { id: 0, content: "<|endoftext|>", special: true };
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const json = {
    version: "1.0",
    added_tokens: [{ ...token, ...flags }],
    model: { type: "WordLevel", vocab: { "<|endoftext|>": 0 }, unk_token: "<|endoftext|>" },
  };
  const silent = await tokenizer_of(json, {});
  expect([silent.bos_token_id, silent.eos_token_id, silent.pad_token_id]).toEqual([0, 0, undefined]);
  const said = await tokenizer_of(json, { pad_token: "<|endoftext|>" });
  expect([said.bos_token_id, said.eos_token_id, said.pad_token_id]).toEqual([undefined, undefined, 0]);
});
