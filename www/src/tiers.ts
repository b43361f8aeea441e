import type { Device, LayerInfo } from "layerline";

/** Where weights live: where they are computed, or on disk, from which they come for each pass. */
export type Tier = "gpu" | "cpu" | "disk";

/** How a module is there, as the map shows it; `passing`: from disk, and in memory for as long as it is needed. */
export type Presence = "absent" | "coming" | "resident" | "passing";

interface TierWords {
  /** Stands in the cells, since colour alone isn't enough. */
  letter: string;
  name: string;
  /** Behind "7.08 MB". */
  place: string;
}

export const TIERS: Record<Tier, TierWords> = {
  gpu: { letter: "G", name: "GPU", place: "on the GPU" },
  cpu: { letter: "C", name: "CPU memory", place: "in CPU memory" },
  disk: { letter: "D", name: "Disk", place: "on disk" },
};

export function tier_of(device: Device): Tier {
  return device === "cpu" || device === "disk" ? device : "gpu";
}

/**
 * How a module is there. What the engine calls absent is, of a module on disk, only that it isn't in memory now.
 *
 * @param is_on_disk whether a module of the disk's has been fetched
 */
export function presence_of({ device, state }: LayerInfo, is_on_disk: boolean): Presence {
  if (tier_of(device) !== "disk") return state;
  if (state !== "absent") return "passing";
  return is_on_disk ? "resident" : "absent";
}
