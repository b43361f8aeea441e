/**
 * Calls across a worker's boundary.
 *
 * Not comlink, since of what crosses here it helps with the calls alone: an AbortSignal, a callback that a later
 * message must be able to answer, an error's code and events that go on after the call has resolved would each need a
 * transfer handler of their own, in a registry that is shared with the rest of the page. With them it is this file.
 */

import { aborted, from_wire, LayerlineError, to_wire, type WireError } from "./errors.js";

/** Page to worker. `abort` fires the call's signal, `stop` makes its event handler return false from then on. */
export type Request =
  | { call: number; method: string; args: readonly unknown[] }
  | { call: number; signal: "abort" | "stop" };

/** Worker to page. Events belong to a call; those of loading go on after it has resolved. */
export type Reply =
  | { call: number; result: unknown }
  | { call: number; error: WireError }
  | { call: number; event: unknown };

/** The part of a Worker, or of a worker's global scope, that the channel uses; a MessagePort has it too. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent) => void) | null;
}

/** What a served method gets beside its arguments. */
export interface CallContext {
  signal: AbortSignal;
  /** Sends an event to the caller; false once the caller has said stop. */
  emit: (event: unknown) => boolean;
}

export type Methods = Record<string, (context: CallContext, ...args: never[]) => unknown>;

/** Answers the calls that arrive on a port, until it is closed. */
export function serve(port: Port, methods: Methods): void {
  const calls = new Map<number, { controller: AbortController; stopped: boolean }>();

  const run = async (call: number, method: string, args: readonly unknown[]): Promise<void> => {
    const state = { controller: new AbortController(), stopped: false };
    calls.set(call, state);
    const emit = (event: unknown): boolean => {
      port.postMessage({ call, event } satisfies Reply, []);
      return !state.stopped;
    };
    try {
      const served = Object.hasOwn(methods, method) ? methods[method] : undefined;
      if (served === undefined) throw new LayerlineError("INTERNAL", `The worker has no method "${method}".`);
      const result = await served({ signal: state.controller.signal, emit }, ...(args as never[]));
      port.postMessage({ call, result } satisfies Reply, owned_buffers(result));
    } catch (error) {
      port.postMessage({ call, error: to_wire(error) } satisfies Reply, []);
    }
  };

  port.onmessage = ({ data }: MessageEvent<Request>) => {
    if ("method" in data) {
      void run(data.call, data.method, data.args);
      return;
    }
    // Not removed when the call is done: aborting a load stops what it left running in the background.
    const state = calls.get(data.call);
    if (data.signal === "stop") {
      if (state) state.stopped = true;
    } else state?.controller.abort();
  };
}

/** Typed arrays of results, and of the objects in them, are handed over, not copied: logits can be a hundred megabytes. */
function owned_buffers(result: unknown): Transferable[] {
  if (ArrayBuffer.isView(result)) {
    const whole = result.byteLength === result.buffer.byteLength;
    return whole && result.buffer instanceof ArrayBuffer ? [result.buffer] : [];
  }
  const plain = typeof result === "object" && result !== null && Object.getPrototypeOf(result) === Object.prototype;
  return plain ? [...new Set(Object.values(result).flatMap(owned_buffers))] : [];
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Gets the call's events; once it has returned false, the other side is told to stop. */
  on_event?: ((event: never) => unknown) | undefined;
  /** Keep delivering events and the abort after the call has resolved, until the client is closed. */
  lasting?: boolean;
}

interface Pending {
  resolve: (value: never) => void;
  reject: (error: LayerlineError) => void;
  /** Stops listening to the call's signal. */
  release: () => void;
  on_event: CallOptions["on_event"];
  lasting: boolean;
  settled: boolean;
}

/** Makes calls over a port to what is served at its other end. */
export class Client {
  readonly #port: Port;
  readonly #calls = new Map<number, Pending>();
  #next = 0;
  #closed: LayerlineError | undefined;

  constructor(port: Port) {
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<Reply>) => this.#receive(data);
  }

  call<R>(method: string, args: readonly unknown[], options: CallOptions = {}): Promise<R> {
    const { signal, on_event, lasting = false } = options;
    if (this.#closed) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.reject(aborted(signal));
    const call = this.#next++;
    return new Promise<R>((resolve, reject) => {
      const on_abort = () => {
        this.#send({ call, signal: "abort" });
        // The caller needn't wait for the worker to notice.
        this.#settle(call, (pending) => pending.reject(aborted(signal)));
      };
      signal?.addEventListener("abort", on_abort, { once: true });
      const release = () => signal?.removeEventListener("abort", on_abort);
      this.#calls.set(call, { resolve, reject, release, on_event, lasting, settled: false });
      try {
        this.#send({ call, method, args });
      } catch (error) {
        // A value that can't be cloned: a function or a live object among the options.
        const said = new LayerlineError("UNSUPPORTED_OPTION", `An option can't go to a worker: ${String(error)}`);
        this.#settle(call, (pending) => pending.reject(said));
        this.#forget(call);
      }
    });
  }

  /** Rejects what is under way and every later call. */
  close(error: LayerlineError): void {
    this.#closed ??= error;
    for (const call of [...this.#calls.keys()]) {
      this.#settle(call, (pending) => pending.reject(error));
      this.#forget(call);
    }
  }

  #send(request: Request): void {
    this.#port.postMessage(request, []);
  }

  #receive(reply: Reply): void {
    if ("event" in reply) {
      const pending = this.#calls.get(reply.call);
      if (!pending || (pending.settled && !pending.lasting)) return;
      if (pending.on_event?.(reply.event as never) === false) this.#send({ call: reply.call, signal: "stop" });
    } else if ("error" in reply) {
      this.#settle(reply.call, (pending) => pending.reject(from_wire(reply.error)));
      this.#forget(reply.call);
    } else {
      this.#settle(reply.call, (pending) => pending.resolve(reply.result as never));
    }
  }

  #settle(call: number, settle: (pending: Pending) => void): void {
    const pending = this.#calls.get(call);
    if (!pending || pending.settled) return;
    pending.settled = true;
    settle(pending);
    if (!pending.lasting) this.#forget(call);
  }

  #forget(call: number): void {
    this.#calls.get(call)?.release();
    this.#calls.delete(call);
  }
}
