import type { PretrainedConfig } from "./config.js";

/** How many classes a model tells apart: those that have names, else as many as the config says. */
export function num_labels({ num_labels, id2label }: PretrainedConfig): number {
  const named = is_object(id2label) ? Object.keys(id2label).length : 0;
  if (named > 0) return named;
  return typeof num_labels === "number" ? num_labels : 2;
}

/** The names of a model's classes, by number. */
export function labels_of(config: PretrainedConfig): string[] {
  const names = is_object(config.id2label) ? config.id2label : {};
  return Array.from({ length: num_labels(config) }, (_, i) => String(names[i] ?? `LABEL_${i}`));
}

function is_object(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
