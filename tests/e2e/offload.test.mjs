// A model with a share of the GPU smaller than its weights: the rest waits in CPU memory or in the cache, and comes to the
// GPU for each pass. The same tokens as torch, within the share.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openEnvironment } from "./support/environments.mjs";
import { golden, SAMPLE, startTestHub } from "./support/models.mjs";

const { input_ids, new_ids } = golden("smollm2.json").prompts.find(({ name }) => name === "counting");
const COUNT = 4;

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

// Runs in the page. `gpu` and `cpu` are parts of the weights' bytes.
async function generate({ AutoModelForCausalLM }, { id, endpoint, input_ids, count, total, gpu, cpu }) {
  const max_memory = { 0: Math.floor(gpu * total), ...(cpu && { cpu: Math.floor(cpu * total) }) };
  const model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, device_map: "auto", max_memory });
  try {
    await model.ready();
    const start = performance.now();
    const output = await model.generate({ input_ids, max_new_tokens: count, do_sample: false });
    const ms = performance.now() - start;
    const bytes = { 0: 0, cpu: 0, disk: 0 };
    for (const { device, bytes: size } of await model.layers()) bytes[device] += size;
    return {
      new_ids: output.tolist()[0].slice(input_ids.length).map(Number),
      ms,
      bytes,
      stats: await model.stats(),
      devices: [...new Set(Object.values(model.hf_device_map))],
    };
  } finally {
    await model.dispose();
  }
}

for (const [name, shares] of [
  [
    "chromium",
    [
      { gpu: 0.6, cpu: 1 },
      { gpu: 0.45, cpu: 0 },
    ],
  ],
  ["firefox", [{ gpu: 0.6, cpu: 0.3 }]],
]) {
  describe(name, () => {
    let environment;
    let total;
    before(async () => {
      environment = await openEnvironment(name);
      const measure = async ({ AutoModelForCausalLM }, { id, endpoint }) => {
        const model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, prefetch: false });
        const total = await model.get_memory_footprint();
        await model.dispose();
        return total;
      };
      total = await environment.run(measure, { id: SAMPLE, endpoint: hub.endpoint });
    });
    after(() => environment.close());

    for (const { gpu, cpu } of shares) {
      test(`${gpu * 100} % on the GPU, ${cpu * 100} % in CPU memory, the rest on disk`, async (t) => {
        const arg = { id: SAMPLE, endpoint: hub.endpoint, input_ids, count: COUNT, total, gpu, cpu };
        const { new_ids: found, bytes, stats, devices, ms } = await environment.run(generate, arg);
        assert.deepEqual(found, new_ids.slice(0, COUNT));
        assert.ok(bytes[0] > 0 && bytes[0] < gpu * total && bytes[0] + bytes.cpu + bytes.disk === total);
        assert.equal(bytes.cpu > 0, cpu > 0);
        assert.ok(devices.includes(0) && devices.length > 1, devices.join());
        // Only what stays is there between passes, and CPU memory holds what it was given.
        assert.equal(stats.resident_bytes, bytes[0]);
        assert.equal(stats.held_bytes > 0, cpu > 0);
        // Beside the weights: cache, activations, staging.
        assert.ok(stats.peak_gpu_bytes < gpu * total + 40e6, `${stats.peak_gpu_bytes} of ${gpu * total}`);
        const mb = (n) => `${(n / 1e6).toFixed(0)} MB`;
        t.diagnostic(`${mb(bytes[0])} on the GPU, ${mb(bytes.cpu)} in memory, ${mb(bytes.disk)} on disk: ${ms | 0} ms`);
      });
    }
  });
}
