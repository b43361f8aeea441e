// A model with a share of the GPU smaller than its weights: the rest is in CPU memory, where it is computed or from which it
// comes to the GPU, or in the cache. The same tokens as torch, within the share.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openEnvironment } from "./support/environments.mjs";
import { golden, SAMPLE, startTestHub } from "./support/models.mjs";

const prompt = (wanted) => golden("smollm2.json").prompts.find(({ name }) => name === wanted);
const { input_ids, new_ids } = prompt("counting");
const COUNT = 4;

let hub;
before(async () => {
  hub = await startTestHub();
});
after(() => hub.close());

// Runs in the page. `gpu` and `cpu` are parts of the weights' bytes; the GPU has so many more.
async function generate({ AutoModelForCausalLM }, { id, endpoint, input_ids, count, total, gpu, more, cpu, by }) {
  const max_memory = { 0: Math.floor(gpu * total) + more, ...(cpu && { cpu: Math.floor(cpu * total) }) };
  const options = { endpoint, device_map: "auto", max_memory, ...(by !== undefined && { execution_device: by }) };
  const model = await AutoModelForCausalLM.from_pretrained(id, options);
  try {
    await model.ready();
    const stamps = [];
    const streamer = { put: () => stamps.push(performance.now()), end() {} };
    const output = await model.generate({ input_ids, max_new_tokens: count, do_sample: false, streamer });
    const [first, layer] = (await model.layers()).map(({ bytes }) => bytes);
    const bytes = { 0: 0, cpu: 0, disk: 0, ...(await model.get_memory_footprint({ by_device: true })) };
    return {
      new_ids: output.tolist()[0].slice(input_ids.length).map(Number),
      // The streamer gets the prompt first.
      prefillMs: stamps[1] - stamps[0],
      tokenMs: (stamps.at(-1) - stamps[1]) / (count - 1),
      bytes,
      first,
      layer,
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
      { gpu: 1, and: "what is kept beside them", cpu: 0 },
      { gpu: 1, cpu: 1 },
      { gpu: 0.6, cpu: 1 },
      { gpu: 0.6, cpu: 1, by: 0 },
      { gpu: 0.3, cpu: 0.5 },
      { gpu: 0.45, cpu: 0 },
      { gpu: 0, cpu: 1 },
      { gpu: 0, cpu: 0.5 },
    ],
  ],
  [
    "firefox",
    [
      { gpu: 0.6, cpu: 1 },
      { gpu: 0.3, cpu: 1 },
      { gpu: 0.6, cpu: 0.3 },
      { gpu: 0, cpu: 1 },
    ],
  ],
]) {
  describe(name, () => {
    let environment;
    let total;
    let kept;
    before(async () => {
      environment = await openEnvironment(name);
      const measure = async ({ AutoModelForCausalLM }, { id, endpoint }) => {
        const model = await AutoModelForCausalLM.from_pretrained(id, { endpoint, prefetch: false });
        const measured = [await model.get_memory_footprint(), (await model.stats()).kept_gpu_bytes];
        await model.dispose();
        return measured;
      };
      [total, kept] = await environment.run(measure, { id: SAMPLE, endpoint: hub.endpoint });
    });
    after(() => environment.close());

    for (const { gpu, and, cpu, by } of shares) {
      const on_gpu = `${gpu * 100} %${and ? ` and ${and}` : ""}`;
      const share = `${on_gpu} on the GPU, ${cpu * 100} % in CPU memory, the rest on disk`;
      test(by === 0 ? `${share}; the GPU computes` : share, async (t) => {
        const more = and ? kept : 0;
        const arg = { id: SAMPLE, endpoint: hub.endpoint, input_ids, count: COUNT, total, gpu, more, cpu, by };
        const found = await environment.run(generate, arg);
        const { bytes, stats, devices } = found;
        assert.deepEqual(found.new_ids, new_ids.slice(0, COUNT));
        assert.equal(bytes[0] + bytes.cpu + bytes.disk, total);
        assert.ok(bytes[0] <= gpu * total && bytes.cpu <= cpu * total);
        const is_whole = gpu === 1 && more > 0;
        // By accelerate's rule the first modules go there if one more layer has room beside them.
        const has_room = gpu * total + more - stats.kept_gpu_bytes > found.first + found.layer;
        assert.deepEqual([bytes[0] > 0, bytes[0] < total, bytes.cpu > 0], [has_room, !is_whole, cpu > 0]);
        assert.equal(devices.length > 1, !is_whole && !(!has_room && cpu === 1), devices.join());
        // Between calls only what stays is there, and CPU memory holds what it was given.
        assert.equal(stats.resident_bytes, bytes[0] + (by === 0 ? 0 : bytes.cpu));
        assert.equal(stats.held_bytes > 0, cpu > 0);
        // All that was ever allocated there: weights, cache, activations, staging.
        const most = gpu * total + more;
        assert.ok(stats.peak_gpu_bytes <= most, `${stats.peak_gpu_bytes} of ${most}`);
        const mb = (n) => `${(n / 1e6).toFixed(0)} MB`;
        const rate = (ms) => `${(1000 / ms).toFixed(1)} tokens/s`;
        t.diagnostic(
          `${mb(bytes[0])} on the GPU, ${mb(bytes.cpu)} in memory, ${mb(bytes.disk)} on disk: prefill ` +
            `${rate(found.prefillMs / input_ids.length)}, decode ${rate(found.tokenMs)}`,
        );
      });
    }

    // A software GPU takes a minute for it in the other browser.
    if (name !== "firefox") return;
    test("weights make room for a long text, and the share is kept", async () => {
      const { input_ids, new_ids } = prompt("list_long");
      const arg = { id: SAMPLE, endpoint: hub.endpoint, input_ids, count: COUNT, total, gpu: 0.6, more: 0, cpu: 1 };
      const { new_ids: found, stats, bytes } = await environment.run(generate, arg);
      assert.deepEqual(found, new_ids.slice(0, COUNT));
      assert.ok(stats.kept_gpu_bytes > kept, `${stats.kept_gpu_bytes} after ${kept}`);
      assert.ok(bytes[0] > 0 && stats.peak_gpu_bytes <= 0.6 * total, `${stats.peak_gpu_bytes} of ${0.6 * total}`);
    });
  });
}
