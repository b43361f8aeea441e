import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type CallContext, Client, type Methods, type Port, serve } from "../src/channel.js";
import { LayerlineError } from "../src/errors.js";

// A MessageChannel is what a worker is: messages are cloned, and arrive in turns of their own.
let ports: MessageChannel;
const connect = (methods: Methods): Client => {
  serve(ports.port2 as unknown as Port, methods);
  return new Client(ports.port1 as unknown as Port);
};
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

/** Runs until its signal fires, as the engine's calls do. */
const until_aborted = ({ signal }: CallContext) =>
  new Promise((_, reject) => {
    const stop = () => reject(new LayerlineError("ABORTED", "stopped"));
    signal.addEventListener("abort", stop, { once: true });
  });

beforeEach(() => {
  ports = new MessageChannel();
});
afterEach(() => {
  ports.port1.close();
  ports.port2.close();
});

describe("the channel", () => {
  test("carries arguments, results and typed arrays", async () => {
    const client = connect({ double: (_, values: Float32Array) => values.map((v) => v * 2) });
    expect(await client.call("double", [Float32Array.of(1, 2)])).toEqual(Float32Array.of(2, 4));
  });

  test("hands typed arrays of results over, those in objects too, and copies parts of others", async () => {
    const data = Float32Array.of(1, 2);
    const part = new Float32Array(4).subarray(1, 3);
    const client = connect({ forward: () => ({ logits: { dims: [2], data }, twice: { data }, part }) });
    expect(await client.call("forward", [])).toEqual({
      logits: { dims: [2], data: Float32Array.of(1, 2) },
      twice: { data: Float32Array.of(1, 2) },
      part: Float32Array.of(0, 0),
    });
    expect([data.byteLength, part.byteLength]).toEqual([0, 8]);
  });

  test("keeps an error's code, name, message and stack", async () => {
    const thrown = new LayerlineError("CHECKPOINT_HEADER", "model.safetensors: 8 bytes are missing");
    const client = connect({
      fail: () => {
        throw thrown;
      },
    });
    const error = await client.call("fail", []).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LayerlineError);
    expect(error).toMatchObject({ code: "CHECKPOINT_HEADER", name: "LayerlineError", message: thrown.message });
    expect((error as Error).stack).toBe(thrown.stack);
  });

  test("a trap, a thrown value and an unknown method are INTERNAL", async () => {
    const client = connect({
      trap: () => {
        throw new WebAssembly.RuntimeError("unreachable");
      },
      value: () => Promise.reject("text"),
    });
    await expect(client.call("trap", [])).rejects.toMatchObject({
      code: "INTERNAL",
      message: "RuntimeError: unreachable",
    });
    await expect(client.call("value", [])).rejects.toMatchObject({ code: "INTERNAL", message: "text" });
    await expect(client.call("toString", [])).rejects.toMatchObject({ code: "INTERNAL" });
  });

  test("an abort reaches the other side and rejects at once", async () => {
    let seen: AbortSignal | undefined;
    const client = connect({
      wait: (context: CallContext) => {
        seen = context.signal;
        return until_aborted(context);
      },
    });
    const controller = new AbortController();
    const call = client.call("wait", [], { signal: controller.signal });
    while (seen === undefined) await turn();
    controller.abort("enough");
    await expect(call).rejects.toMatchObject({ name: "AbortError", code: "ABORTED", cause: "enough" });
    while (!seen.aborted) await turn();
  });

  test("a signal that has fired sends nothing", async () => {
    let called = false;
    const client = connect({
      run: () => {
        called = true;
      },
      other: () => 1,
    });
    await expect(client.call("run", [], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
    expect(await client.call("other", [])).toBe(1);
    expect(called).toBe(false);
  });

  test("an event handler that returns false stops the sender", async () => {
    const client = connect({
      count: async ({ emit }: CallContext) => {
        let n = 0;
        while (emit(n)) {
          n++;
          await turn();
        }
        return n;
      },
    });
    const events: number[] = [];
    const on_event = (n: number) => {
      events.push(n);
      return n < 3;
    };
    expect(await client.call<number>("count", [], { on_event })).toBeGreaterThanOrEqual(3);
    expect(events.slice(0, 4)).toEqual([0, 1, 2, 3]);
  });

  test("events of a lasting call, and its abort, go on after it has resolved", async () => {
    let context: CallContext | undefined;
    const client = connect({
      load: (c: CallContext) => {
        context = c;
        return "loaded";
      },
    });
    const controller = new AbortController();
    const events: unknown[] = [];
    const on_event = (e: unknown) => events.push(e);
    expect(await client.call("load", [], { signal: controller.signal, on_event, lasting: true })).toBe("loaded");
    context?.emit("later");
    while (events.length === 0) await turn();
    expect(events).toEqual(["later"]);
    controller.abort();
    while (!context?.signal.aborted) await turn();
  });

  test("closing rejects what is under way and what comes after", async () => {
    const client = connect({ wait: until_aborted });
    const call = client.call("wait", []);
    client.close(new LayerlineError("DISPOSED", "gone"));
    await expect(call).rejects.toMatchObject({ code: "DISPOSED" });
    await expect(client.call("wait", [])).rejects.toMatchObject({ code: "DISPOSED" });
  });

  test("an argument that can't be cloned is an option that can't go to a worker", async () => {
    const client = connect({ run: () => 1 });
    await expect(client.call("run", [() => 1])).rejects.toMatchObject({ code: "UNSUPPORTED_OPTION" });
    expect(await client.call("run", [])).toBe(1);
  });
});
