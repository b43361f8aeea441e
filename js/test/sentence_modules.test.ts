import { describe, expect, test } from "vitest";
import {
  parse_dense,
  parse_modules,
  parse_pooling,
  parse_prompts,
  parse_transformer,
  TRANSFORMER_CONFIGS,
} from "../src/sentence_modules.js";

const module = (name: string, path: string) => ({
  idx: 0,
  name: "0",
  path,
  type: `sentence_transformers.models.${name}`,
});
const modules = (...list: object[]) => parse_modules(JSON.stringify(list));

describe("modules.json", () => {
  test("as all-MiniLM-L6-v2 has it", () => {
    expect(
      modules(module("Transformer", ""), module("Pooling", "1_Pooling"), module("Normalize", "2_Normalize")),
    ).toEqual({
      transformer: "",
      after: [
        { kind: "Pooling", path: "1_Pooling" },
        { kind: "Normalize", path: "2_Normalize" },
      ],
    });
  });

  test("a transformer in a folder, and a repo without the file", () => {
    expect(modules(module("Transformer", "0_BERT"), module("Pooling", "1_Pooling")).transformer).toBe("0_BERT");
    expect(parse_modules(undefined).after).toEqual([{ kind: "Pooling", path: "" }]);
  });

  test.each([
    [[module("Transformer", ""), module("Pooling", "1"), module("Router", "2")], "UNSUPPORTED_CONFIG", "models.Router"],
    [[module("WordEmbeddings", "")], "UNSUPPORTED_CONFIG", "WordEmbeddings"],
    [[], "UNSUPPORTED_CONFIG", "Transformer"],
    [[module("Transformer", "")], "CONFIG_INVALID", "Pooling"],
    [[null], "CONFIG_INVALID", "type or path"],
    [{}, "CONFIG_INVALID", "list"],
  ])("%o is refused", (list, code, why) => {
    expect(() => parse_modules(JSON.stringify(list))).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(why) }),
    );
  });
});

describe("poolings", () => {
  const poolings = (config: object) => parse_pooling(JSON.stringify(config), "1_Pooling/config.json");

  test("are joined in sentence-transformers' order, whatever that of the file is", () => {
    expect(
      poolings({ pooling_mode_lasttoken: true, pooling_mode_mean_tokens: true, pooling_mode_cls_token: true }),
    ).toEqual(["cls", "mean", "lasttoken"]);
    expect(poolings({ pooling_mode_mean_tokens: false, pooling_mode_max_tokens: true })).toEqual(["max"]);
    expect(poolings({ word_embedding_dimension: 384 })).toEqual(["mean"]);
    expect(poolings({ pooling_mode: "weightedmean" })).toEqual(["weightedmean"]);
    expect(parse_pooling(undefined, "")).toEqual(["mean"]);
  });

  test("none, and an unknown one, are refused", () => {
    expect(() => poolings({ pooling_mode_mean_tokens: false })).toThrowError(/1_Pooling\/config.json turns no/);
    expect(() => poolings({ include_prompt: false })).toThrowError(/include_prompt/);
    expect(() => poolings({ pooling_mode: "median" })).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED_CONFIG" }),
    );
  });
});

describe("Dense modules", () => {
  const plain = { in_features: 3, out_features: 2 };
  const parsed = (config: object) => parse_dense(JSON.stringify(config), "2_Dense/config.json");

  test("have a bias and tanh where nothing is said, as in sentence-transformers", () => {
    expect(parsed(plain)).toEqual({ ...plain, bias: true, activation: "Tanh" });
    const activation_function = "torch.nn.modules.linear.Identity";
    expect(parsed({ ...plain, bias: false, activation_function, module_input_name: "sentence_embedding" })).toEqual({
      ...plain,
      bias: false,
      activation: "Identity",
    });
  });

  test.each([
    [{ ...plain, out_features: 0 }, "CONFIG_INVALID", "out_features"],
    [{ in_features: 3 }, "CONFIG_INVALID", "out_features"],
    [{ ...plain, bias: 1 }, "CONFIG_INVALID", "bias"],
    [{ ...plain, use_residual: true }, "UNSUPPORTED_CONFIG", "use_residual"],
    [{ ...plain, module_input_name: "token_embeddings" }, "UNSUPPORTED_CONFIG", "token_embeddings"],
    [{ ...plain, activation_function: "torch.nn.modules.activation.Mish" }, "UNSUPPORTED_CONFIG", "Mish"],
    [{ ...plain, activation_function: "toString" }, "UNSUPPORTED_CONFIG", "toString"],
  ])("%o is refused", (config, code, why) => {
    expect(() => parsed(config)).toThrowError(expect.objectContaining({ code, message: expect.stringContaining(why) }));
  });

  test("without a config are refused", () => {
    expect(() => parse_dense(undefined, "2_Dense/config.json")).toThrowError(/2_Dense\/config.json is missing/);
  });
});

test("the transformer's settings are in the first of its files that is there", () => {
  expect(TRANSFORMER_CONFIGS.slice(0, 2)).toEqual(["sentence_bert_config.json", "sentence_roberta_config.json"]);
  expect(parse_transformer([undefined, '{"max_seq_length": 256, "do_lower_case": true}'])).toEqual({
    max_seq_length: 256,
    do_lower_case: true,
  });
  expect(parse_transformer(['{"max_seq_length": null, "do_lower_case": false}'])).toEqual({});
  expect(parse_transformer([])).toEqual({});
  expect(() => parse_transformer(["["])).toThrowError(/sentence_bert_config.json is not JSON/);
});

test("prompts are texts by name", () => {
  const json = '{"prompts": {"query": "query: ", "odd": 1}, "default_prompt_name": "query"}';
  expect(parse_prompts(json)).toEqual({ prompts: { query: "query: " }, default_prompt_name: "query" });
  expect(parse_prompts(undefined)).toEqual({ prompts: {}, default_prompt_name: undefined });
});
