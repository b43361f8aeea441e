import type { ModelStats } from "layerline";
import { create, element } from "./dom.ts";
import * as format from "./format.ts";

/** The model's numbers, as a list of terms. Each value has its raw number in `data-value`. */
export function show_numbers(stats: ModelStats): void {
  const { adapter } = stats;
  const gpu = adapter
    ? adapter.description || [adapter.vendor, adapter.architecture].filter(Boolean).join(" ") || "unnamed"
    : "none: the CPU computes";
  const rows: [term: string, id: string, value: string | number, shown: string][] = [
    ["GPU memory", "gpu-bytes", stats.gpu_bytes, format.bytes(stats.gpu_bytes)],
    ["GPU peak", "peak-gpu-bytes", stats.peak_gpu_bytes, format.bytes(stats.peak_gpu_bytes)],
    ["Weights there", "resident-bytes", stats.resident_bytes, format.bytes(stats.resident_bytes)],
    ["CPU weights", "held-bytes", stats.held_bytes, format.bytes(stats.held_bytes)],
    ["Staging peak", "peak-staging-bytes", stats.peak_staging_bytes, format.bytes(stats.peak_staging_bytes)],
    ["Wasm memory", "wasm-memory-bytes", stats.wasm_memory_bytes, format.bytes(stats.wasm_memory_bytes)],
    ["Fetched", "fetched-bytes", stats.fetched_bytes, format.bytes(stats.fetched_bytes)],
    ["From the cache", "cache-read-bytes", stats.cache_read_bytes, format.bytes(stats.cache_read_bytes)],
    ["Requests", "requests", stats.requests, String(stats.requests)],
    ["Kernels", "kernels", stats.kernels, stats.kernels],
    ["Adapter", "adapter", gpu, gpu],
  ];
  element("numbers", HTMLDListElement).replaceChildren(
    ...rows.map(([term, id, value, shown]) =>
      create(
        "div",
        { class: id },
        create("dt", {}, term),
        create("dd", { "data-testid": id, "data-value": String(value) }, shown),
      ),
    ),
  );
}
