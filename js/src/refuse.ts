import { LayerlineError } from "./errors.js";

/** Throws `UNSUPPORTED_OPTION`: what was given, and what to do instead. */
export function refuse_option(name: string, value: unknown, why: string): never {
  const shown = typeof value === "string" || typeof value !== "object" ? JSON.stringify(value) : "…";
  throw new LayerlineError("UNSUPPORTED_OPTION", `The option ${name}: ${shown} is not supported. ${why}`);
}
