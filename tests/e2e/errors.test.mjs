// Bad input: a typed error that says what and where, and a page that goes on working after it.
import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openEnvironment } from "./support/environments.mjs";
import { editJson, golden, spoiltRepos, startTestHub } from "./support/models.mjs";

const GOOD = "tiny/llama-bf16-bias";
const { inputs } = golden(`${GOOD}/golden.json`);
const SHARD = "model-00002-of-00005.safetensors";

/** What is wrong with each repo, the code that says so, and what its message must name. */
const SPOILT = {
  "header-cut": ["CHECKPOINT_HEADER", SHARD, (folder) => writeFile(join(folder, SHARD), Buffer.from([0x40, 0, 0]))],
  "header-beyond-the-file": [
    "CHECKPOINT_HEADER",
    SHARD,
    (folder) =>
      writeFile(join(folder, SHARD), Buffer.concat([Buffer.from([0xff, 0xff, 0, 0, 0, 0, 0, 0]), Buffer.from("{")])),
  ],
  "header-not-json": [
    "CHECKPOINT_HEADER",
    SHARD,
    (folder) =>
      writeFile(join(folder, SHARD), Buffer.concat([Buffer.from([8, 0, 0, 0, 0, 0, 0, 0]), Buffer.from("nonsense")])),
  ],
  "shard-missing": ["CHECKPOINT_MISSING_SHARD", SHARD, (folder) => rm(join(folder, SHARD))],
  "index-names-another-file": [
    "CHECKPOINT_MISSING_SHARD",
    "model-00009-of-00009.safetensors",
    (folder) =>
      editJson(folder, "model.safetensors.index.json", ({ weight_map }) => {
        weight_map["model.norm.weight"] = "model-00009-of-00009.safetensors";
      }),
  ],
  "index-leaves-the-repo": [
    "CHECKPOINT_INDEX",
    "../secrets.safetensors",
    (folder) =>
      editJson(folder, "model.safetensors.index.json", ({ weight_map }) => {
        weight_map["model.norm.weight"] = "../secrets.safetensors";
      }),
  ],
  "index-not-json": [
    "CHECKPOINT_INDEX",
    "model.safetensors.index.json",
    (folder) => writeFile(join(folder, "model.safetensors.index.json"), "{"),
  ],
  "no-weights": [
    "CHECKPOINT_NOT_FOUND",
    "spoilt/no-weights",
    (folder) => rm(join(folder, "model.safetensors.index.json")),
  ],
  "other-model-type": [
    "UNSUPPORTED_MODEL_TYPE",
    "mamba",
    (folder) =>
      editJson(folder, "config.json", (config) => {
        config.model_type = "mamba";
        config.architectures = ["MambaForCausalLM"];
      }),
  ],
  "config-not-json": ["CONFIG_INVALID", "config.json", (folder) => writeFile(join(folder, "config.json"), "[")],
  "config-without-layers": [
    "CONFIG_INVALID",
    "num_hidden_layers",
    (folder) =>
      editJson(folder, "config.json", (config) => {
        config.num_hidden_layers = -1;
      }),
  ],
  "no-config": ["ENTRY_NOT_FOUND", "config.json", (folder) => rm(join(folder, "config.json"))],
};

const load = async ({ AutoModelForCausalLM }, { id, ...options }) => {
  const model = await AutoModelForCausalLM.from_pretrained(id, options);
  // Some faults show only when the bytes come.
  await model.ready().finally(() => model.dispose());
};

let spoilt;
let hub;
before(async () => {
  const changes = Object.fromEntries(Object.entries(SPOILT).map(([name, [, , change]]) => [name, change]));
  spoilt = await spoiltRepos("llama-bf16-bias", changes);
  hub = await startTestHub({
    ...spoilt.repos,
    "spoilt/gated": { ...spoilt.repos["spoilt/no-config"], gated: true, tokens: ["hf_granted"] },
  });
});
after(async () => {
  await hub.close();
  await spoilt.remove();
});

describe("in one page", () => {
  let environment;
  before(async () => {
    environment = await openEnvironment("chromium");
  });
  after(() => environment.close());

  const fails = (code, names, options) =>
    assert.rejects(environment.run(load, { endpoint: hub.endpoint, ...options }), (error) => {
      assert.equal(error.code, code, error.message);
      assert.equal(error.name, "LayerlineError");
      assert.ok(error.message.includes(names), `"${error.message}" doesn't name ${names}`);
      return true;
    });

  for (const [name, [code, names]] of Object.entries(SPOILT)) {
    test(`${name}: ${code}`, () => fails(code, names, { id: `spoilt/${name}` }));
  }

  test("a missing repo", () => fails("REPO_NOT_FOUND", "nobody/nothing", { id: "nobody/nothing" }));
  test("a missing revision", () => fails("REVISION_NOT_FOUND", "v9", { id: GOOD, revision: "v9" }));
  test("a gated repo", () => fails("GATED_REPO", "spoilt/gated", { id: "spoilt/gated" }));
  test("no hub there", () => fails("NETWORK", "127.0.0.1:9", { id: GOOD, endpoint: "http://127.0.0.1:9" }));
  test("not an id", () => fails("INVALID_REPO_ID", "../x", { id: "../x" }));
  test("an option that isn't supported", () => fails("UNSUPPORTED_OPTION", "q2", { id: GOOD, dtype: "q2" }));

  test("a repo without a tokenizer", async () => {
    const call = ({ AutoTokenizer }, { id, endpoint }) => AutoTokenizer.from_pretrained(id, { endpoint });
    await assert.rejects(environment.run(call, { id: GOOD, endpoint: hub.endpoint }), {
      code: "ENTRY_NOT_FOUND",
      name: "LayerlineError",
    });
  });

  test("ids outside the vocabulary are named, and the model goes on", async () => {
    const got = await environment.run(
      async ({ AutoModelForCausalLM }, { id, endpoint, input_ids }) => {
        const model = await AutoModelForCausalLM.from_pretrained(id, { endpoint });
        const caught = async (call) => {
          const error = await call().catch((e) => e);
          return { code: error.code, message: error.message };
        };
        const errors = [
          await caught(() => model.generate({ input_ids: [1, 2, 120], max_new_tokens: 1 })),
          await caught(() => model.forward({ input_ids: [4294967295] })),
          await caught(() => model.generate({ input_ids: [] })),
          await caught(() => model.generate({ input_ids: [[1], [2, 3]] })),
        ];
        const output = await model.generate({ input_ids, max_new_tokens: 4 });
        await model.dispose();
        const disposed = await caught(() => model.generate({ input_ids }));
        return { errors, output: Array.from(output.data, Number), disposed };
      },
      { id: GOOD, endpoint: hub.endpoint, input_ids: inputs[0].input_ids },
    );
    for (const { code } of got.errors) assert.equal(code, "INPUT_IDS");
    assert.ok(got.errors[0].message.includes("120"), got.errors[0].message);
    assert.deepEqual(got.output, [...inputs[0].input_ids, ...inputs[0].greedy.slice(0, 4)]);
    assert.equal(got.disposed.code, "DISPOSED");
  });

  test("after all of these the page still loads and runs a model, in a worker and on the page", async () => {
    for (const worker of [true, false]) {
      const output = await environment.run(
        async ({ AutoModelForCausalLM }, { id, input_ids, ...options }) => {
          const model = await AutoModelForCausalLM.from_pretrained(id, options);
          const output = await model.generate({ input_ids, max_new_tokens: 16 });
          await model.dispose();
          return Array.from(output.data, Number);
        },
        { id: GOOD, endpoint: hub.endpoint, worker, input_ids: inputs[0].input_ids },
      );
      assert.deepEqual(output, [...inputs[0].input_ids, ...inputs[0].greedy]);
    }
  });
});

test("where WebGPU is wanted and there is none, loading fails with a code, and what needs no GPU works", async () => {
  const environment = await openEnvironment("chromium", { webgpu: false });
  try {
    for (const worker of [true, false]) {
      const wanted = { id: GOOD, endpoint: hub.endpoint, worker, device: "webgpu" };
      const unavailable = { code: "WEBGPU_UNAVAILABLE", name: "LayerlineError" };
      await assert.rejects(environment.run(load, wanted), unavailable);
    }
    const type = await environment.run(
      async ({ AutoConfig }, { id, endpoint }) => (await AutoConfig.from_pretrained(id, { endpoint })).model_type,
      { id: GOOD, endpoint: hub.endpoint },
    );
    assert.equal(type, "llama");
  } finally {
    await environment.close();
  }
});
