import { expect, test } from "vitest";
import { type ArchitectureDescription, register, registered_architectures } from "../src/architectures.js";
import { AutoModel, AutoModelForCausalLM } from "../src/auto.js";

test("what is registered goes to the engine, whichever class it was registered by, as it was at the time", () => {
  expect(registered_architectures()).toBeUndefined();
  const described: ArchitectureDescription = { like: "llama", names: { last_norm: null } };
  AutoModel.register("mine", described);
  described.like = "gpt2";
  AutoModelForCausalLM.register("yours", { like: "bert", config_keys: { hidden_size: "width" } });
  expect(JSON.parse(registered_architectures() ?? "")).toEqual([
    { model_type: "mine", like: "llama", names: { last_norm: null } },
    { model_type: "yours", like: "bert", config_keys: { hidden_size: "width" } },
  ]);
  expect(() => register("mine", { like: "qwen2" })).toThrow(/registered before/);
  register("mine", { like: "qwen2" }, { exist_ok: true });
  expect(JSON.parse(registered_architectures() ?? "")[0]).toEqual({ model_type: "mine", like: "qwen2" });
});

test.each([
  ["", { like: "llama" }, "model_type"],
  [3, { like: "llama" }, "model_type"],
  ["a", null, "architecture"],
  ["a", "llama", "architecture"],
  ["a", {}, "architecture"],
  ["a", { like: "llama", layers: 3 }, "layers"],
])("%o, %o is refused", (model_type, architecture, named) => {
  const refused = expect(() => register(model_type as never, architecture as never));
  refused.toThrow(expect.objectContaining({ code: "UNSUPPORTED_OPTION", message: expect.stringContaining(named) }));
});
