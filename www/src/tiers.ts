import type { Device, LayerInfo } from "layerline";

/** Where weights live: on the GPU, or where they wait and come from for each pass. */
export type Tier = "gpu" | "cpu" | "disk";

/** How a module is there, as the map shows it; `passing`: offloaded, and on the GPU for as long as it is needed. */
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
 * How a module is there. What the engine calls absent is, of an offloaded module, only that it isn't on the GPU now.
 *
 * @param has_come whether an offloaded module has reached the place where it waits
 */
export function presence_of({ device, state }: LayerInfo, has_come: boolean): Presence {
  if (tier_of(device) === "gpu") return state;
  if (state !== "absent") return "passing";
  return has_come ? "resident" : "absent";
}
