// Every option, format and source of from_pretrained, with the loading info and the output that transformers gives.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { assertClose } from "./support/close.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { GOLDENS, golden, startTestHub } from "./support/models.mjs";

const { cases, input_ids } = golden("loading.json");
const repos = readdirSync(join(GOLDENS, "loading"));
const BASIC = cases.find(({ repo, output }) => repo === "causal" && output);

/** What an error of transformers' is called here. */
const CODES = [
  [/ignore_mismatched_sizes/, "MISMATCHED_WEIGHT"],
  [/no file named/, "CHECKPOINT_NOT_FOUND"],
  [/Unrecognized model/, "ENTRY_NOT_FOUND"],
];

let hub;
let environment;
before(async () => {
  hub = await startTestHub(
    Object.fromEntries(repos.map((name) => [`loading/${name}`, { path: join(GOLDENS, "loading", name) }])),
  );
  environment = await openEnvironment("chromium");
});
after(async () => {
  await environment.close();
  await hub.close();
});

/** Loads by `load(layerline, arg)`, runs a forward pass, and tells all. */
const run = (load, arg = {}) =>
  environment.run(
    `async (layerline, arg) => {
      const [model, info] = [await (${load})(layerline, arg)].flat();
      const [name, { data }] = Object.entries(await model({ input_ids: arg.input_ids }))[0];
      await model.dispose();
      return { info, name, output: Array.from(data), vocab_size: model.config.vocab_size };
    }`,
    { endpoint: hub.endpoint, input_ids, ...arg },
  );

function assertOutput(found, { output, f16_error }) {
  assertClose(found, output.flat(), f16_error.max_abs);
}

describe("as transformers loads the same files", () => {
  for (const [index, expected] of cases.entries()) {
    const { repo, class: cls, options } = expected;
    test(`${repo}: ${cls} ${JSON.stringify(options)}`, async () => {
      const load = (layerline, { cls, id, options, endpoint }) =>
        layerline[cls].from_pretrained(id, { endpoint, ...options });
      const loaded = run(load, {
        cls,
        id: `loading/${repo}`,
        // A worker of its own costs a second; where the engine runs changes nothing in the rest.
        options: { dtype: "float32", output_loading_info: true, worker: index % 8 === 0, ...options },
      });
      if (expected.error) {
        const [, code] = CODES.find(([pattern]) => pattern.test(expected.error));
        await assert.rejects(loaded, { code });
        return;
      }
      const { info, output, name } = await loaded;
      assert.deepEqual(info, expected.loading_info);
      assert.equal(name, cls === "AutoModel" ? "last_hidden_state" : "logits");
      if (expected.output) assertOutput(output, expected);
      else assert.ok(output.every(Number.isFinite));
    });
  }
});

describe("wherever the files are", () => {
  /** The files of a repo, as the page gets them: [path, bytes in base64]. */
  const files = (folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(folder.length + 1), readFileSync(path).toString("base64")]);
  const decoded = "([path, text]) => [path, Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]";
  const causal = files(join(GOLDENS, "loading/causal"));

  for (const worker of [true, false]) {
    const where = worker ? "in a worker" : "on the page";
    const common = { dtype: "float32", worker };
    const loads = async (load, arg = {}) => assertOutput((await run(load, { common, causal, ...arg })).output, BASIC);

    test(`a URL, ${where}`, () =>
      loads(({ AutoModelForCausalLM }, { endpoint, common }) =>
        AutoModelForCausalLM.from_pretrained(new URL(`${endpoint}/loading/causal/resolve/main/`), common),
      ));

    test(`files that the user has picked, ${where}`, () =>
      loads(
        `({ AutoModelForCausalLM }, { causal, common }) => {
          const picked = causal.map(${decoded}).map(([path, bytes]) => {
            const file = new File([bytes], path.split("/").at(-1));
            Object.defineProperty(file, "webkitRelativePath", { value: "my model/" + path });
            return file;
          });
          return AutoModelForCausalLM.from_pretrained(picked, common);
        }`,
      ));

    test(`a folder that the user has picked, ${where}`, () =>
      loads(
        `async ({ AutoModelForCausalLM }, { causal, common }) => {
          const root = await navigator.storage.getDirectory();
          const folder = await root.getDirectoryHandle("picked", { create: true });
          for (const [path, bytes] of causal.filter(([path]) => !path.includes("/")).map(${decoded})) {
            const file = await (await folder.getFileHandle(path, { create: true })).createWritable();
            await file.write(bytes);
            await file.close();
          }
          return AutoModelForCausalLM.from_pretrained(folder, common);
        }`,
      ));

    test(`files in memory, ${where}`, () =>
      loads(
        `({ AutoModelForCausalLM }, { causal, common }) =>
          AutoModelForCausalLM.from_pretrained(new Map(causal.map(${decoded})), common)`,
      ));

    test(`a state dict, ${where}`, async () => {
      const tensors = tensorsOf(join(GOLDENS, "loading/causal/model.safetensors"));
      const config = JSON.parse(readFileSync(join(GOLDENS, "loading/causal/config.json"), "utf8"));
      await loads(
        ({ AutoModelForCausalLM, Tensor }, { tensors, config, common }) => {
          const state_dict = Object.fromEntries(
            tensors.map(([name, dims, values]) => [name, new Tensor("float32", Float32Array.from(values), dims)]),
          );
          return AutoModelForCausalLM.from_pretrained(null, { ...common, config, state_dict });
        },
        { tensors, config },
      );
    });
  }

  test("a tokenizer and a config come from files too", async () => {
    const type = await environment.run(
      `async ({ AutoConfig }, { causal }) =>
        (await AutoConfig.from_pretrained(new Map(causal.map(${decoded})))).model_type`,
      { causal },
    );
    assert.equal(type, "llama");
  });
});

describe("configs of one's own", () => {
  test("an object, or another repo's", async () => {
    const config = JSON.parse(readFileSync(join(GOLDENS, "loading/causal/config.json"), "utf8"));
    for (const given of [config, "loading/more-keys"]) {
      const { output } = await run(
        ({ AutoModelForCausalLM }, { endpoint, config }) =>
          AutoModelForCausalLM.from_pretrained("loading/causal", { endpoint, dtype: "float32", worker: false, config }),
        { config: given },
      );
      assertOutput(output, BASIC);
    }
    const { vocab_size, info } = await run(
      ({ AutoModelForCausalLM }, { endpoint, config }) =>
        AutoModelForCausalLM.from_pretrained("loading/causal", {
          endpoint,
          config: { ...config, vocab_size: 48 },
          ignore_mismatched_sizes: true,
          output_loading_info: true,
        }),
      { config },
    );
    assert.equal(vocab_size, 48);
    assert.equal(info.mismatched_keys.length, 2);
  });

  test("an architecture that the page describes, on the page and in a worker", async () => {
    const { hidden_size: width, ...rest } = JSON.parse(
      readFileSync(join(GOLDENS, "loading/causal/config.json"), "utf8"),
    );
    const config = { ...rest, width, model_type: "mine" };
    for (const worker of [false, true]) {
      const { output } = await run(
        ({ AutoModelForCausalLM }, { endpoint, config, worker }) => {
          const like = { like: "llama", config_keys: { hidden_size: "width" } };
          AutoModelForCausalLM.register("mine", like, { exist_ok: true });
          return AutoModelForCausalLM.from_pretrained("loading/causal", { endpoint, dtype: "float32", config, worker });
        },
        { config, worker },
      );
      assertOutput(output, BASIC);
    }
    const unheard = { ...config, model_type: "unheard" };
    const refused = run(
      ({ AutoModelForCausalLM }, { endpoint, config }) =>
        AutoModelForCausalLM.from_pretrained("loading/causal", { endpoint, config }),
      { config: unheard },
    );
    await assert.rejects(refused, { code: "UNSUPPORTED_MODEL_TYPE" });
  });

  test("from_config makes all weights by the seed", async () => {
    const make = (seed) =>
      run(
        async ({ AutoConfig, AutoModelForCausalLM }, { endpoint, seed }) => {
          const config = await AutoConfig.from_pretrained("loading/causal", { endpoint });
          return AutoModelForCausalLM.from_config(config, { seed, worker: false });
        },
        { seed },
      );
    const [one, again, other] = [await make(1), await make(1), await make(2)];
    assert.deepEqual(one, again);
    assert.notDeepEqual(one.output, other.output);
    assert.ok(one.output.every(Number.isFinite) && one.output.some((value) => Math.abs(value) > 0.01));
  });

  test("what can't be is refused with its reason", async () => {
    const refusal = (source, options) =>
      environment
        .run(
          ({ AutoModelForCausalLM }, [source, options]) => AutoModelForCausalLM.from_pretrained(source, options),
          [source, { endpoint: hub.endpoint, ...options }],
        )
        .then(
          () => assert.fail("it was not refused"),
          (error) => error,
        );
    const both = await refusal("loading/causal", { state_dict: { w: { dtype: "int8", dims: [0], data: {} } } });
    assert.equal(both.code, "TENSOR");
    assert.match((await refusal("loading/causal", { attn_implementation: "flash_attention_2" })).message, /CUDA/);
    assert.equal((await refusal("loading/causal", { num_attention_heads: 3 })).code, "CONFIG_INVALID");
    assert.equal((await refusal(null, {})).code, "INVALID_REPO_ID");
  });
});

test("load_sharded_checkpoint gives a model other weights", async () => {
  const [sharded] = cases.filter(({ repo, output }) => repo === "bin-sharded" && output);
  const got = await environment.run(
    async ({ AutoModelForCausalLM, load_sharded_checkpoint }, { endpoint, input_ids }) => {
      const model = await AutoModelForCausalLM.from_pretrained("loading/causal", { endpoint, dtype: "float32" });
      const logits = async () => Array.from((await model({ input_ids })).logits.data);
      const caught = (call) =>
        call.then(
          () => undefined,
          ({ code, message }) => ({ code, message }),
        );
      const before = await logits();
      const none = await caught(load_sharded_checkpoint(model, "loading/causal", { endpoint }));
      const strict = await caught(load_sharded_checkpoint(model, "loading/base-sharded", { endpoint }));
      const kept = await logits();
      const left = await load_sharded_checkpoint(model, "loading/bin-sharded", { endpoint });
      await model.ready();
      const after = await logits();
      await model.dispose();
      return { before, none, strict, kept, left, after };
    },
    { endpoint: hub.endpoint, input_ids },
  );
  assertOutput(got.before, BASIC);
  assert.equal(got.none.code, "CHECKPOINT_NOT_FOUND");
  assert.equal(got.strict.code, "INCOMPATIBLE_KEYS");
  assert.deepEqual(got.kept, got.before);
  assert.deepEqual(got.left, { missing_keys: [], unexpected_keys: [] });
  assertOutput(got.after, sharded);
});

/** Name, shape and values of each float32 tensor of a file. */
function tensorsOf(path) {
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length).toString("utf8"));
  delete header.__metadata__;
  return Object.entries(header).map(
    ([
      name,
      {
        shape,
        data_offsets: [start, end],
      },
    ]) => {
      const bytes = file.subarray(8 + length + start, 8 + length + end);
      return [name, shape, Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i))];
    },
  );
}
