/** Threads that compute beside the engine's, where a page is cross-origin isolated: only there can memory be shared. */

import { env } from "./env.js";

/** Bytes of a hand's memory: what the engine's `api/crew.rs` calls its words, and what goes with an order. */
const MEMORY_BYTES = 128 + (4 << 20);

/** The word that says that nobody listens any more, and the one that a hand waits for. */
const CLOSED = 4;
const TOLD = 0;

/** Beyond these, memory isn't read faster. */
const MOST_THREADS = 8;

/** What a hand is told first. */
export interface HandStart {
  module: WebAssembly.Module;
  memory: SharedArrayBuffer;
}

/** What it says: that it listens from now on, or never will. */
export type HandAnswer = "listens" | "fails";

/** A worker that says nothing for so long hasn't come up. */
const PATIENCE_MS = 20_000;

/** How many threads are to compute on the CPU, where they can. */
export function wanted_threads(): number {
  const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
  return Math.max(1, Math.floor(env.num_threads ?? Math.min(cores, MOST_THREADS)));
}

/** Whether this thread can share memory with others and wait for them: a page's own can't wait. */
function can_share(): boolean {
  const is_worker = typeof Reflect.get(globalThis, "DedicatedWorkerGlobalScope") === "function";
  return is_worker && globalThis.crossOriginIsolated === true && typeof Worker === "function";
}

/** Workers that have been hired for one model. */
export class Hands {
  readonly #count: number;
  #hired: { worker: Worker; memory: SharedArrayBuffer }[] = [];

  private constructor(count: number) {
    this.#count = count;
  }

  /** Those who can be hired; undefined where there can be none. */
  static of(threads: number): Hands | undefined {
    return threads > 1 && can_share() ? new Hands(threads - 1) : undefined;
  }

  /** Starts them. Gives the memories of those that listen; where none can be started, one thread computes as ever. */
  async hire(module: WebAssembly.Module): Promise<SharedArrayBuffer[]> {
    const started = await Promise.all(Array.from({ length: this.#count }, () => start(module)));
    this.#hired = started.filter((hand) => hand !== undefined);
    return this.#hired.map(({ memory }) => memory);
  }

  /** Ends them. */
  close(): void {
    for (const { worker, memory } of this.#hired) {
      // Should the engine still wait for it, it does so no longer.
      const words = new Int32Array(memory, 0, CLOSED + 1);
      Atomics.store(words, CLOSED, 1);
      Atomics.notify(words, TOLD);
      worker.terminate();
    }
    this.#hired = [];
  }
}

function start(module: WebAssembly.Module): Promise<{ worker: Worker; memory: SharedArrayBuffer } | undefined> {
  const memory = new SharedArrayBuffer(MEMORY_BYTES);
  return new Promise((resolve) => {
    try {
      // Written out as bundlers look for it.
      const worker = new Worker(new URL("./hand.js", import.meta.url), { type: "module", name: "layerline hand" });
      const settle = (answer: HandAnswer) => {
        clearTimeout(timer);
        if (answer === "fails") worker.terminate();
        resolve(answer === "listens" ? { worker, memory } : undefined);
      };
      const timer = setTimeout(() => settle("fails"), PATIENCE_MS);
      worker.onmessage = ({ data }: MessageEvent<HandAnswer>) => settle(data);
      worker.onerror = () => settle("fails");
      worker.postMessage({ module, memory } satisfies HandStart);
    } catch {
      resolve(undefined);
    }
  });
}
