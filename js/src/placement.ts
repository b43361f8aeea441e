import { refuse_option } from "./refuse.js";

/** The GPU (0), CPU memory, or the disk's cache. */
type Place = 0 | "cpu" | "disk";

const STRATEGIES: readonly unknown[] = ["auto", "balanced", "balanced_low_0", "sequential"];
const GPU: readonly unknown[] = [0, "0", "gpu", "webgpu", "cuda", "cuda:0"];

function check_place(option: string, device: unknown): Place {
  if (GPU.includes(device)) return 0;
  if (device === "cpu" || device === "disk") return device;
  return refuse_option(option, device, 'Devices: 0 (the GPU), "cpu", "disk".');
}

/** transformers' `device_map` for the engine, as JSON; undefined: it is inferred. */
export function check_device_map(device_map: unknown): string | undefined {
  if (device_map == null || STRATEGIES.includes(device_map)) return undefined;
  if (typeof device_map !== "object") return JSON.stringify({ "": check_place("device_map", device_map) });
  const entries = Object.entries(device_map);
  return JSON.stringify(
    Object.fromEntries(entries.map(([module, device]) => [module, check_place("device_map", device)])),
  );
}

/** accelerate's `max_memory` for the engine, as JSON: bytes, or texts like "2GB", by device. */
export function check_max_memory(max_memory: unknown): string | undefined {
  if (max_memory == null) return undefined;
  if (typeof max_memory !== "object") {
    return refuse_option("max_memory", max_memory, 'Give sizes by device: { 0: "2GB", cpu: "4GB" }.');
  }
  const sizes: Record<string, unknown> = {};
  for (const [device, size] of Object.entries(max_memory)) {
    const place = check_place("max_memory", device);
    const is_size = typeof size === "string" || (Number.isSafeInteger(size) && (size as number) >= 0);
    if (!is_size) refuse_option("max_memory", size, 'A size is a number of bytes, or a text like "2GB".');
    // The disk takes what nothing else does.
    if (place !== "disk") sizes[place] = size;
  }
  return JSON.stringify(sizes);
}

/** accelerate's `execution_device` for the engine. */
export function check_execution_device(device: unknown): "0" | "cpu" | undefined {
  if (device == null) return undefined;
  const place = check_place("execution_device", device);
  if (place === "disk") return refuse_option("execution_device", device, 'Devices that compute: 0 (the GPU), "cpu".');
  return place === 0 ? "0" : place;
}
