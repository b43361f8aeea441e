import { readdirSync, readFileSync } from "node:fs";

/**
 * The most resident memory that each process started by this one has had, summed, in bytes. Linux only.
 *
 * @param counts which of them count, by their command lines
 */
export function childrenPeakRss(counts = () => true) {
  const parents = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const status = readStatus(pid);
    if (status) parents.set(Number(pid), status);
  }
  const started = (pid) => {
    const parent = parents.get(pid)?.parent;
    return parent === process.pid || (parent > 1 && started(parent));
  };
  return [...parents].reduce((sum, [pid, { peak, line }]) => sum + (started(pid) && counts(line) ? peak : 0), 0);
}

function readStatus(pid) {
  let text;
  let line;
  try {
    text = readFileSync(`/proc/${pid}/status`, "utf8");
    line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return undefined; // It has ended.
  }
  const number = (name) => Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(text)?.[1] ?? 0);
  return { parent: number("PPid"), peak: number("VmHWM") * 1024, line };
}
