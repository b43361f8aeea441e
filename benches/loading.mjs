// What it takes to load a gigabyte in Chromium: without the cache, filling it, and from it; each beside a bare fetch of
// the same ranges into GPU buffers in the same browser. Over the loopback, or a link of at most so many Mbit/s.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEnvironment } from "../tests/e2e/support/environments.mjs";
import { startTestHub } from "../tests/e2e/support/models.mjs";
import { watchGrowth } from "./memory.mjs";
import { syntheticRepo } from "./synthetic.mjs";

const ID = "bench/synthetic";
const ROUNDS = Number(process.env.ROUNDS ?? 3);
const STREAMS = 6;

/**
 * Every load of every round: `{bytes, rounds: [{baseline, uncached, filling, warm, pinned}]}`; times in ms, sizes in bytes.
 * A load's `headMs` goes before its weights: the headers, and the driver that compiles the kernels.
 *
 * @param link Mbit/s at most, of which each of the streams has its share: pacing loses some; without it, what the loopback gives
 */
export async function measureLoading(link) {
  const model = await syntheticRepo("gigabyte");
  const hub = await startTestHub({ [ID]: { path: model.path } });
  try {
    // The hub hashes its files once.
    const revision = await hub.sha(ID);
    if (link) hub.faults.set([{ path: ".safetensors", throttle: (link * 1e6) / 8 / STREAMS }]);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) rounds.push(await measureRound(hub, revision));
    return { bytes: model.bytes, rounds };
  } finally {
    await hub.close();
    await model.remove();
  }
}

async function measureRound(hub, revision) {
  // A profile on disk: that of a private window keeps its files in memory.
  const profile = await mkdtemp(join(tmpdir(), "layerline-profile-"));
  let port;
  const inBrowser = async (run) => {
    const environment = await openEnvironment("unwatched chromium", { profile, port });
    port = environment.port;
    hub.log.length = 0;
    // The GPU's process has the weights.
    const growth = watchGrowth((command) => command.includes("--type=renderer"));
    try {
      return { ...(await run(environment)), pageGrowth: growth() };
    } finally {
      growth();
      await environment.close();
    }
  };
  const visit = (cached, at) =>
    inBrowser(async (environment) => {
      const options = { id: ID, endpoint: hub.endpoint, cached, ...(at && { revision: at }) };
      const result = await environment.run(load, options);
      const log = hub.log.filter(({ method, status }) => method !== "OPTIONS" && status < 300);
      return { ...result, log: [...log] };
    });
  try {
    const uncached = await visit(false);
    const ranges = uncached.log
      .filter(({ range, file }) => range && file.endsWith(".safetensors"))
      .map(({ file, range }) => ({ url: `${hub.endpoint}/${ID}/resolve/${revision}/${file}`, range }));
    const baseline = await inBrowser(async (environment) => {
      return { ms: await environment.run(bareFetch, { ranges, streams: STREAMS }) };
    });
    const filling = await visit(true);
    const warm = await visit(true);
    const pinned = await visit(true, revision);
    return { baseline, uncached, filling, warm, pinned };
  } finally {
    await rm(profile, { recursive: true, force: true });
  }
}

// The rest runs in the page.

async function load({ AutoModelForCausalLM, env }, { id, cached, ...options }) {
  env.use_browser_cache = cached;
  // The driver compiles the kernels before the weights set out, so that each has a time of its own.
  let start = performance.now();
  const model = await AutoModelForCausalLM.from_pretrained(id, { ...options, dtype: "auto", prefetch: false });
  const headMs = performance.now() - start;
  start = performance.now();
  await model.ready();
  const ms = performance.now() - start;
  const stats = await model.stats();
  await model.dispose();
  return { headMs, ms, stats };
}

async function bareFetch(_, { ranges, streams }) {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice();
  const start = performance.now();
  const queue = [...ranges];
  const buffers = [];
  const stream = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [first, last] = next.range.slice("bytes=".length).split("-").map(Number);
      const size = Math.ceil((last - first + 1) / 4) * 4;
      const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
      buffers.push(buffer);
      const { body } = await fetch(next.url, { headers: { Range: next.range }, cache: "no-store" });
      // Into the same memory again and again: without that the process grows by half a gigabyte.
      const reader = body.getReader({ mode: "byob" });
      let at = 0;
      let held = 0;
      let memory = new ArrayBuffer(256 << 10);
      while (true) {
        const { done, value } = await reader.read(new Uint8Array(memory, held));
        if (done) break;
        memory = value.buffer;
        held += value.length;
        const whole = held & ~3;
        device.queue.writeBuffer(buffer, at, memory, 0, whole);
        at += whole;
        held -= whole;
        new Uint8Array(memory).copyWithin(0, whole, whole + held);
      }
      await device.queue.onSubmittedWorkDone();
    }
  };
  await Promise.all(Array.from({ length: streams }, stream));
  const ms = performance.now() - start;
  for (const buffer of buffers) buffer.destroy();
  device.destroy();
  return ms;
}
