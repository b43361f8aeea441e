import { readdirSync, readFileSync } from "node:fs";

/** The most resident memory that each process started by this one has had, summed, in bytes. Linux only. */
export function childrenPeakRss() {
  const parents = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const status = readStatus(pid);
    if (status) parents.set(Number(pid), status);
  }
  const started = (pid) => {
    const parent = parents.get(pid)?.parent;
    return parent === process.pid || (parent > 1 && started(parent));
  };
  return [...parents].reduce((sum, [pid, { peak }]) => sum + (started(pid) ? peak : 0), 0);
}

function readStatus(pid) {
  let text;
  try {
    text = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return undefined; // It has ended.
  }
  const number = (name) => Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(text)?.[1] ?? 0);
  return { parent: number("PPid"), peak: number("VmHWM") * 1024 };
}
