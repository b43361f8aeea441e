import type { PretrainedConfig } from "./config.js";

/** How many classes a model tells apart. */
export function num_labels(config: PretrainedConfig): number {
  const { num_labels, id2label } = config;
  if (typeof num_labels === "number") return num_labels;
  return is_object(id2label) ? Object.keys(id2label).length : 2;
}

/** The names of a model's classes, by number. */
export function labels_of(config: PretrainedConfig): string[] {
  const names = is_object(config.id2label) ? config.id2label : {};
  const named = Object.keys(names).length === num_labels(config);
  return Array.from({ length: num_labels(config) }, (_, i) =>
    named ? String(names[i] ?? `LABEL_${i}`) : `LABEL_${i}`,
  );
}

function is_object(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
