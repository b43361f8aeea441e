import { PreTrainedModel } from "../model.js";

/**
 * What several loads give, side by side. Where some fail, the models that were loaded are disposed of.
 *
 * @throws what the first of them that failed threw, in the order in which they are given
 */
export async function together<T extends readonly unknown[]>(
  loads: {
    readonly [K in keyof T]: Promise<T[K]>;
  },
): Promise<T> {
  const settled = await Promise.allSettled(loads as readonly Promise<unknown>[]);
  const failed = settled.find((load) => load.status === "rejected");
  const loaded = settled.flatMap((load) => (load.status === "fulfilled" ? [load.value] : []));
  if (failed === undefined) return loaded as unknown as T;
  await Promise.all(loaded.map((value) => (value instanceof PreTrainedModel ? value.dispose() : undefined)));
  throw failed.reason;
}
