import { expect, test } from "vitest";
import { warnings_of } from "../src/loading_info.js";

const nothing = { missing_keys: [], unexpected_keys: [], mismatched_keys: [], error_msgs: [] };

test("a checkpoint that fits is no news", () => {
  expect(warnings_of(nothing, "LlamaForCausalLM", "org/name")).toEqual([]);
});

test("what was left over and what was made anew are said once each, with names and shapes", () => {
  const [unused, anew, ...more] = warnings_of(
    {
      ...nothing,
      missing_keys: ["lm_head.weight"],
      unexpected_keys: ["classifier.bias"],
      mismatched_keys: [["model.embed_tokens.weight", [40, 16], [44, 16]]],
    },
    "LlamaForCausalLM",
    "org/name",
  );
  expect(unused).toContain("at org/name were not used when initializing LlamaForCausalLM: [classifier.bias]");
  expect(anew).toContain("lm_head.weight, model.embed_tokens.weight ([40,16] in the checkpoint, [44,16] in the model)");
  expect(anew).toContain("You should probably TRAIN this model");
  expect(more).toEqual([]);
});

test("hundreds of names are cut", () => {
  const missing_keys = Array.from({ length: 100 }, (_, i) => `layers.${i}`);
  const [warning] = warnings_of({ ...nothing, missing_keys }, "LlamaModel", "org/name");
  expect(warning).toContain("layers.11, and 88 more]");
  expect(warning).not.toContain("layers.12");
});
