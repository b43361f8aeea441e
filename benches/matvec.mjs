// The rate at which one large matrix-vector product reads its weights: what decoding is compared with. It is the
// engine's own kernel, put together from shaders/ as src/tensor/gpu/kernel.rs does, through plain WebGPU.
import { readFileSync } from "node:fs";

const shader = (name) => readFileSync(new URL(`../shaders/${name}.wgsl`, import.meta.url), "utf8");

/** By the engine's names of its storages: the prelude that reads it, and the bytes of an element. */
const STORAGES = {
  float32: ["weights_f32", 4],
  "float16 (shader-f16)": ["weights_f16", 2],
  "float16 (packed)": ["weights_f16_packed", 2],
  "bfloat16 (packed)": ["weights_bf16", 2],
};

/** [rows, columns]: the sample model's head, and a square as larger models have them. */
export const SHAPES = [
  [49152, 576],
  [4096, 4096],
];

// [invocations a workgroup, invocations that share rows, how they sum]
const SETTINGS = [
  [32, 4, "subgroup"],
  [64, 4, "subgroup"],
  [128, 4, "subgroup"],
  [64, 8, "subgroup"],
  [64, 1, "workgroup"],
  [64, 4, "workgroup"],
  [64, 32, "workgroup"],
];

function wgsl(kernels, [workgroup, lanes, reduction]) {
  const [prelude] = STORAGES[kernels];
  return [
    kernels.includes("shader-f16") ? "enable f16;" : "",
    reduction === "subgroup" ? "enable subgroups;" : "",
    `const WORKGROUP: u32 = ${workgroup}u;`,
    `const LANES: u32 = ${lanes}u;`,
    "const ACTIVATION: u32 = 0u;",
    ...["NORM", "GATED", "BIAS", "ADD"].map((flag) => `const ${flag}: bool = false;`),
    shader(prelude),
    shader(`sum_${reduction}`),
    shader("activate"),
    shader("linear_vec"),
  ].join("\n");
}

/** What `matvecRates` needs to know, for the adapter that a model's `stats()` describe. */
export function matvecPlan({ kernels, adapter }, batchMs) {
  const settings = SETTINGS.filter(([, , reduction]) => reduction !== "subgroup" || adapter.subgroups);
  const kinds = settings.map((setting) => ({
    name: `workgroups of ${setting[0]}, ${setting[1]} lanes a row, ${setting[2]} sums`,
    rowsPerGroup: (setting[0] / setting[1]) * 4,
    lanes: setting[2] === "subgroup" ? setting[1] : 1,
    code: wgsl(kernels, setting),
  }));
  const variants = kinds.flatMap((kind) => SHAPES.map((shape) => ({ ...kind, shape })));
  return { variants, elementBytes: STORAGES[kernels][1], batchMs };
}

/**
 * Runs in the page. Times batches of products, long enough that the browser's delay in reporting completion counts for
 * little; resolves to the variants, each with its `bytesPerSecond` of weights.
 */
export async function matvecRates(_, { variants, elementBytes, batchMs }, state) {
  state.matvec ??= await open();
  const gpu = state.matvec;
  const rates = [];
  for (const { code, ...variant } of variants) {
    // Lanes that sum by shuffles must lie in one subgroup.
    if (variant.lanes > gpu.smallestSubgroup) continue;
    const { rows, run } = await prepare(code, variant);
    await run(1);
    let count = 2;
    let ms = await run(count);
    for (; ms < batchMs; ms = await run(count)) count *= Math.min(8, Math.ceil((1.2 * batchMs) / ms));
    rates.push({ ...variant, bytesPerSecond: (rows * elementBytes * variant.shape[1] * count * 1000) / ms });
  }
  return rates;

  async function open() {
    const adapter = await navigator.gpu.requestAdapter();
    const requiredFeatures = ["shader-f16", "subgroups"].filter((feature) => adapter.features.has(feature));
    const device = await adapter.requestDevice({ requiredFeatures });
    const { STORAGE, UNIFORM, COPY_DST } = GPUBufferUsage;
    const buffer = (size, usage = STORAGE) => device.createBuffer({ size, usage: usage | COPY_DST });
    const largest = (sizeOf) => Math.max(...variants.map(({ shape }) => sizeOf(shape)));
    const weight = buffer(largest(([rows, columns]) => rows * columns) * elementBytes);
    // Bits that are ordinary numbers in every storage.
    const some = new Uint16Array(1 << 20).map(() => 0x3c00 + Math.random() * 512);
    for (let at = 0; at < weight.size; at += some.byteLength) {
      device.queue.writeBuffer(weight, at, some, 0, Math.min(some.byteLength, weight.size - at) / 2);
    }
    const x = buffer(largest(([, columns]) => columns) * 4);
    device.queue.writeBuffer(x, 0, new Float32Array(x.size / 4).map(Math.random));
    const y = buffer(largest(([rows]) => rows) * 4);
    const params = buffer(32, UNIFORM);
    const smallestSubgroup = adapter.info.subgroupMinSize ?? 1;
    return { device, smallestSubgroup, params, weight, x, y, pipelines: new Map() };
  }

  /** The variant as `run(count)`, which resolves to the milliseconds that so many products took. */
  async function prepare(code, { shape: [rows, columns], rowsPerGroup }) {
    const { device, params, weight, x, y, pipelines } = gpu;
    if (!pipelines.has(code)) {
      const compute = { module: device.createShaderModule({ code }), entryPoint: "main" };
      pipelines.set(code, await device.createComputePipelineAsync({ layout: "auto", compute }));
    }
    const pipeline = pipelines.get(code);
    device.queue.writeBuffer(params, 0, new Uint32Array([rows, columns / 4, 0, columns, 0]));
    // The last two are read only where there is a norm or a bias.
    const entries = [params, weight, x, y, x, x].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const run = async (count) => {
      device.pushErrorScope("validation");
      const start = performance.now();
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < count; i++) pass.dispatchWorkgroups(Math.ceil(rows / rowsPerGroup));
      pass.end();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      const ms = performance.now() - start;
      const error = await device.popErrorScope();
      if (error) throw new Error(`the product can't run: ${error.message}`);
      return ms;
    };
    return { rows, run };
  }
}
