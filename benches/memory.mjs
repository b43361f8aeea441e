import { readdirSync, readFileSync } from "node:fs";

/**
 * The most resident memory that each process started by this one has had, summed, in bytes. Linux only.
 *
 * @param counts which of them count, by their command lines
 */
export function childrenPeakRss(counts = () => true) {
  return sum(children(counts), ({ peak }) => peak);
}

/**
 * Watches how much memory of their own the processes started by this one have, summed, in bytes: what isn't pages of
 * files. Gives a function that ends it and says by how much the memory has grown at most. Linux only.
 *
 * @param counts which of them count, by their command lines
 */
export function watchGrowth(counts) {
  const now = () => sum(children(counts), ({ own }) => own);
  const start = now();
  let most = start;
  const timer = setInterval(() => {
    most = Math.max(most, now());
  }, 50);
  return () => {
    clearInterval(timer);
    return Math.max(most, now()) - start;
  };
}

const sum = (processes, of) => processes.reduce((total, process) => total + of(process), 0);

function children(counts) {
  const all = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const status = readStatus(pid);
    if (status) all.set(Number(pid), status);
  }
  const started = (pid) => {
    const parent = all.get(pid)?.parent;
    return parent === process.pid || (parent > 1 && started(parent));
  };
  return [...all].filter(([pid, { line }]) => started(pid) && counts(line)).map(([, status]) => status);
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
  const bytes = (name) => number(name) * 1024;
  return { parent: number("PPid"), peak: bytes("VmHWM"), own: bytes("RssAnon") + bytes("RssShmem"), line };
}
