/**
 * Runs in the page. Times each case by itself: batches of its dispatches, long enough that the browser's delay in
 * reporting completion counts for little, and by the device's own clock where it has one.
 *
 * A case is `{ label, code, groups, bindings, subgroup }`; it is left out where subgroups may be smaller than the last.
 * A binding is one of
 *   { params: [words] }   a uniform;
 *   { words: [words] }    a storage buffer with these words at its front;
 *   { pool: bytes }       a part of a large buffer, each dispatch's the next, so that caches don't serve it; with
 *                         `half: 1` of a second such buffer, for what is written;
 *   { scratch: bytes }    read and written, the same for all cases (`of` tells two apart).
 * Resolves to the cases' `{ label, us, error, skipped }`: microseconds a dispatch, or why it can't run.
 */
export async function kernelRates(_, { cases, batchMs, poolBytes }, state) {
  state.kernels ??= await open();
  const { device, stamps } = state.kernels;
  const results = [];
  const fits = ({ subgroup = 0 }) => subgroup <= state.kernels.smallestSubgroup;
  await Promise.all(cases.filter(fits).map(({ code }) => compile(code).catch(() => undefined)));
  for (const one of cases) {
    if (!fits(one)) {
      results.push({ label: one.label, skipped: true });
      continue;
    }
    try {
      results.push({ label: one.label, us: await time(one) });
    } catch (error) {
      results.push({
        label: one.label,
        error: String(error.message ?? error)
          .split("\n")
          .slice(0, 3)
          .join(" "),
      });
    }
  }
  return results;

  async function open() {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    const wanted = ["shader-f16", "subgroups", "timestamp-query"];
    const requiredFeatures = wanted.filter((feature) => adapter.features.has(feature));
    const requiredLimits = {};
    for (const name of [
      "maxBufferSize",
      "maxStorageBufferBindingSize",
      "maxComputeInvocationsPerWorkgroup",
      "maxComputeWorkgroupSizeX",
      "maxComputeWorkgroupStorageSize",
    ]) {
      requiredLimits[name] = adapter.limits[name];
    }
    const device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
    const { COPY_DST, COPY_SRC, QUERY_RESOLVE, MAP_READ } = GPUBufferUsage;
    const size = Math.min(poolBytes, device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize);
    let stamps;
    if (device.features.has("timestamp-query")) {
      stamps = {
        set: device.createQuerySet({ type: "timestamp", count: 2 }),
        resolved: device.createBuffer({ size: 16, usage: QUERY_RESOLVE | COPY_SRC }),
        back: device.createBuffer({ size: 16, usage: COPY_DST | MAP_READ }),
      };
    }
    const smallestSubgroup = device.features.has("subgroups") ? (adapter.info.subgroupMinSize ?? 1) : 0;
    return {
      device,
      size: size - (size % 256),
      pools: [],
      stamps,
      smallestSubgroup,
      scratch: new Map(),
      pipelines: new Map(),
    };
  }

  /** All at once: the driver compiles on several threads where it can. */
  function compile(code) {
    const { pipelines } = state.kernels;
    if (!pipelines.has(code)) {
      const compute = { module: device.createShaderModule({ code }), entryPoint: "main" };
      pipelines.set(code, device.createComputePipelineAsync({ layout: "auto", compute }));
    }
    return pipelines.get(code);
  }

  function pool(half) {
    const { size, pools } = state.kernels;
    if (!pools[half]) {
      const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
      pools[half] = device.createBuffer({ size, usage: STORAGE | COPY_DST | COPY_SRC });
      // Bits that are ordinary numbers in every storage.
      const some = new Uint16Array(1 << 22).map(() => 0x3c00 + Math.random() * 512);
      for (let at = 0; at < size; at += some.byteLength) {
        device.queue.writeBuffer(pools[half], at, some, 0, Math.min(some.byteLength, size - at) / 2);
      }
    }
    return pools[half];
  }

  function scratch(bytes, of) {
    const known = state.kernels.scratch;
    const key = `${bytes} ${of}`;
    if (!known.has(key)) {
      const { STORAGE, COPY_DST } = GPUBufferUsage;
      const made = device.createBuffer({ size: bytes, usage: STORAGE | COPY_DST });
      device.queue.writeBuffer(made, 0, new Float32Array(bytes / 4).map(Math.random));
      known.set(key, made);
    }
    return known.get(key);
  }

  function filled(words, usage) {
    const size = Math.max(32, words.length * 4);
    const made = device.createBuffer({ size, usage: usage | GPUBufferUsage.COPY_DST });
    device.queue.writeBuffer(made, 0, new Uint32Array(words));
    return made;
  }

  async function time({ code, groups, bindings }) {
    const pipeline = await compile(code);
    device.pushErrorScope("validation");
    const largest = Math.max(0, ...bindings.map((binding) => binding.pool ?? 0));
    const step = Math.ceil(largest / 256) * 256;
    const places = largest === 0 ? 1 : Math.min(64, Math.floor(state.kernels.size / step));
    if (places === 0) throw new Error("the pool is too small for it");
    const own = bindings.map(({ params, words, scratch: bytes, of }) => {
      if (params) return { buffer: filled(params, GPUBufferUsage.UNIFORM) };
      if (words) return { buffer: filled(words, GPUBufferUsage.STORAGE) };
      return bytes ? { buffer: scratch(bytes, of) } : undefined;
    });
    const layout = pipeline.getBindGroupLayout(0);
    const bound = Array.from({ length: places }, (_, place) => {
      const part = ({ pool: size, half = 0 }) => ({ buffer: pool(half), offset: place * step, size });
      const resources = own.map((resource, binding) => resource ?? part(bindings[binding]));
      const entries = resources.map((resource, binding) => ({ binding, resource }));
      return device.createBindGroup({ layout, entries });
    });
    const run = async (count) => {
      const encoder = device.createCommandEncoder();
      const timestampWrites = stamps && {
        querySet: stamps.set,
        beginningOfPassWriteIndex: 0,
        endOfPassWriteIndex: 1,
      };
      const start = performance.now();
      const pass = encoder.beginComputePass({ timestampWrites });
      pass.setPipeline(pipeline);
      for (let i = 0; i < count; i++) {
        pass.setBindGroup(0, bound[i % places]);
        pass.dispatchWorkgroups(...groups);
      }
      pass.end();
      if (stamps) {
        encoder.resolveQuerySet(stamps.set, 0, 2, stamps.resolved, 0);
        encoder.copyBufferToBuffer(stamps.resolved, 0, stamps.back, 0, 16);
      }
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      const ms = performance.now() - start;
      if (!stamps) return ms;
      await stamps.back.mapAsync(GPUMapMode.READ);
      const [from, to] = new BigUint64Array(stamps.back.getMappedRange());
      const gpuMs = Number(to - from) / 1e6;
      stamps.back.unmap();
      return gpuMs;
    };
    await run(1);
    const error = await device.popErrorScope();
    if (error) throw new Error(error.message);
    let count = 8;
    let ms = await run(count);
    while (ms < batchMs && count < 4096) {
      count = Math.min(4096, Math.ceil(count * Math.min(8, Math.max(1.5, (1.2 * batchMs) / Math.max(ms, 1e-3)))));
      ms = await run(count);
    }
    const again = await run(count);
    return (Math.min(ms, again) * 1000) / count;
  }
}

/**
 * Runs in the page. What the host pays, after `kernelRates` has run `ceilings`: microseconds to encode a dispatch, to
 * submit a pass, and from a submit until its result is read; bytes a second of `writeBuffer`.
 */
export async function hostRates(_, { writeBytes }, state) {
  const { device, pools, pipelines } = state.kernels;
  const queue = device.queue;
  const pipeline = await [...pipelines.values()][0];
  const other = device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE });
  const entries = [pools[0], other].map((buffer, binding) => ({ binding, resource: { buffer, size: 256 } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const { COPY_DST, MAP_READ } = GPUBufferUsage;
  const back = device.createBuffer({ size: 4, usage: COPY_DST | MAP_READ });
  const encode = (dispatches) => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < dispatches; i++) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(1);
    }
    pass.end();
    return encoder;
  };
  const timed = async (turns, f) => {
    await f();
    const start = performance.now();
    for (let i = 0; i < turns; i++) await f();
    return ((performance.now() - start) * 1000) / turns;
  };
  const encodeUs = (await timed(50, () => encode(200))) / 200;
  const submitUs = await timed(100, () => queue.submit([encode(1).finish()]));
  await queue.onSubmittedWorkDone();
  const roundTripUs = await timed(50, async () => {
    const encoder = encode(1);
    encoder.copyBufferToBuffer(pools[0], 0, back, 0, 4);
    queue.submit([encoder.finish()]);
    await back.mapAsync(GPUMapMode.READ);
    back.unmap();
  });
  const chunk = new Uint8Array(Math.min(1 << 23, writeBytes));
  const writes = Math.floor(writeBytes / chunk.length);
  const us = await timed(1, async () => {
    for (let i = 0; i < writes; i++) queue.writeBuffer(pools[0], 0, chunk);
    await queue.onSubmittedWorkDone();
  });
  return { encodeUs, submitUs, roundTripUs, writeBytesPerSecond: (writes * chunk.length * 1e6) / us };
}
