// A GPU device that is lost while a model loads or generates: the model goes on on another, with the same tokens.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { openEnvironment } from "./support/environments.mjs";
import { golden, startTestHub } from "./support/models.mjs";

const ID = "tiny/llama-bf16-bias";
const { input_ids, greedy } = golden(`${ID}/golden.json`).inputs.find(({ name }) => name === "long");

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

// Runs in the page. Loses the device when the tokens `at` have come, or in the middle of the load.
async function generate({ AutoModelForCausalLM, BaseStreamer }, { id, endpoint, input_ids, count, at, loading, own }) {
  // The devices that are asked for from here on.
  const devices = [];
  const { prototype } = Object.getPrototypeOf(await navigator.gpu.requestAdapter()).constructor;
  const request = prototype.requestDevice;
  prototype.requestDevice = async function (...descriptor) {
    const device = await request.apply(this, descriptor);
    devices.push(device);
    return device;
  };
  try {
    const device = own ? await (await navigator.gpu.requestAdapter()).requestDevice() : null;
    const model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, worker: false, device });
    if (loading) devices.at(-1).destroy();
    await model.ready();
    let seen = 0;
    class Losing extends BaseStreamer {
      put() {
        if (at.includes(seen++)) devices.at(-1).destroy();
      }
      end() {}
    }
    const run = () => model.generate({ input_ids, max_new_tokens: count, do_sample: false, streamer: new Losing() });
    try {
      const output = await run();
      const { device_losses, gpu_buffers } = await model.stats();
      return { new_ids: output.tolist()[0].slice(input_ids.length).map(Number), device_losses, gpu_buffers };
    } finally {
      await model.dispose();
    }
  } finally {
    prototype.requestDevice = request;
  }
}

const options = (more) => ({
  id: ID,
  endpoint: hub.endpoint,
  input_ids,
  count: greedy.length,
  at: [],
  loading: false,
  own: false,
  ...more,
});

for (const name of ["chromium", "firefox", "node"]) {
  describe(name, () => {
    let environment;
    before(async () => {
      environment = await openEnvironment(name);
    });
    after(() => environment.close());

    test("lost while weights come in, and while tokens do: the same tokens, and nothing is left over", async () => {
      const undisturbed = await environment.run(generate, options());
      assert.deepEqual(undisturbed, { new_ids: greedy, device_losses: 0, gpu_buffers: undisturbed.gpu_buffers });
      const { gpu_buffers } = undisturbed;
      // The streamer gets the prompt first: 1 is the first new token.
      const disturbed = await environment.run(generate, options({ loading: true, at: [1, 9] }));
      assert.deepEqual(disturbed, { new_ids: greedy, device_losses: 3, gpu_buffers });
    });

    test("a device of the page's own is not replaced", async () => {
      await assert.rejects(environment.run(generate, options({ own: true, at: [2] })), { code: "DEVICE_LOST" });
    });
  });
}

test("the browser's GPU process dies, and the model in its worker goes on", async () => {
  const environment = await openEnvironment("chromium");
  try {
    await environment.run(
      async ({ AutoModelForCausalLM }, { id, endpoint }, state) => {
        state.model = await AutoModelForCausalLM.from_pretrained(id, { endpoint });
        await state.model.ready();
      },
      { id: ID, endpoint: hub.endpoint },
    );
    const text = async (_, { input_ids, count }, { model }) => {
      const output = await model.generate({ input_ids, max_new_tokens: count, do_sample: false });
      const { device_losses } = await model.stats();
      return { new_ids: output.tolist()[0].slice(input_ids.length).map(Number), device_losses };
    };
    const arg = { input_ids, count: greedy.length };
    assert.deepEqual(await environment.run(text, arg), { new_ids: greedy, device_losses: 0 });
    for (const pid of gpuProcesses()) process.kill(pid, "SIGKILL");
    assert.deepEqual(await environment.run(text, arg), { new_ids: greedy, device_losses: 1 });
  } finally {
    await environment.close();
  }
});

/** The GPU processes of the browsers that this process has started. Linux only. */
function gpuProcesses() {
  const parent = (pid) => Number(/^PPid:\s*(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
  const ours = (pid) => pid === process.pid || (pid > 1 && ours(parent(pid)));
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return all.map(Number).filter((pid) => read(`/proc/${pid}/cmdline`).includes("--type=gpu-process") && ours(pid));
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It has ended.
  }
}
