// The rate at which one large matrix-vector product reads its weights: what decoding is compared with.
import { kernelRates } from "./kernel_rates.mjs";
import { vectorCase } from "./kernels.mjs";

/** [rows, columns]: the sample model's head, and a square as larger models have them. */
const SHAPES = [
  [49152, 576],
  [4096, 4096],
];

// [invocations a workgroup, invocations that share rows, rows, octets, how they sum]
const SETTINGS = [
  [32, 4, 4, false, "subgroup"],
  [64, 4, 4, false, "subgroup"],
  [128, 4, 4, false, "subgroup"],
  [64, 8, 4, false, "subgroup"],
  [32, 32, 2, true, "subgroup"],
  [64, 1, 4, false, "workgroup"],
  [64, 4, 4, false, "workgroup"],
  [64, 32, 4, false, "workgroup"],
];

/** What `matvecRates` needs to know, for the adapter that a model's `stats()` describe. */
export function matvecPlan({ kernels, adapter }, batchMs) {
  const suits = ([, , , , reduction]) => reduction !== "subgroup" || adapter.subgroups;
  const variants = SETTINGS.filter(suits).flatMap(([workgroup, lanes, together, octets, reduction]) =>
    SHAPES.map((shape) => ({
      name: `workgroups of ${workgroup}, ${lanes} lanes for ${together} rows, ${reduction} sums`,
      shape,
      ...vectorCase(kernels, shape, { workgroup, lanes, together, octets, reduction }),
    })),
  );
  const poolBytes = 4 * Math.max(...variants.map(({ bytes }) => bytes));
  return { variants, batchMs, poolBytes };
}

/** The variants as they ran in an environment, each with its `bytesPerSecond` of weights. */
export async function matvecRates(environment, { variants, batchMs, poolBytes }) {
  const cases = variants.map(({ code, groups, bindings, subgroup }) => ({ code, groups, bindings, subgroup }));
  const rates = await environment.run(kernelRates, { cases, batchMs, poolBytes });
  const failed = rates.find(({ error }) => error !== undefined);
  if (failed) throw new Error(`the product can't run: ${failed.error}`);
  const rated = variants.map((variant, i) => ({ ...variant, bytesPerSecond: (variant.bytes * 1e6) / rates[i].us }));
  return rated.filter((_, i) => !rates[i].skipped);
}
