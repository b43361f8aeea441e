import { createReadStream } from "node:fs";
import { pipeline, Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { createGzip } from "node:zlib";
import { parseRange } from "./range.mjs";

/** Answers with a text or JSON that is already in memory. */
export function sendText(exchange, status, headers, text) {
  const body = Buffer.from(text);
  return sendBody(exchange, status, { ...headers, "Content-Length": body.length }, () => Readable.from([body]));
}

export function sendJson(exchange, status, headers, value) {
  const type = { "Content-Type": "application/json; charset=utf-8" };
  return sendText(exchange, status, { ...type, ...headers }, JSON.stringify(value));
}

/** Answers with a file or a range of it, streamed from disk. `compress`: gzip it where the client takes it. */
export function sendFile(exchange, file, headers, { compress = false } = {}) {
  const { request, fault } = exchange;
  const size = Math.min(file.size, fault.truncate ?? Number.POSITIVE_INFINITY);
  const range = fault.ignoreRange ? null : parseRange(request.headers.range, size);
  if (range?.end >= range?.start + fault.maxRange) range.end = range.start + fault.maxRange - 1;
  const common = { "Accept-Ranges": "bytes", ...headers };
  if (range === "unsatisfiable") {
    return sendText(exchange, 416, { ...common, "Content-Range": `bytes */${size}` }, "");
  }
  const open = (start, end) =>
    end < start ? Readable.from([]) : createReadStream(file.source, { start, end, highWaterMark: 1 << 18 });
  if (range) {
    const { start, end } = range;
    const contentRange = fault.contentRange ?? `bytes ${start}-${end}/${size}`;
    const last = Math.min(end + (fault.beyond ?? 0), file.size - 1);
    const partial = { ...common, "Content-Range": contentRange, "Content-Length": last - start + 1 };
    return sendBody(exchange, 206, partial, () => open(start, last));
  }
  if (compress && /\bgzip\b/.test(request.headers["accept-encoding"] ?? "")) {
    // The length of what is sent isn't known ahead, and the ETag becomes weak.
    const encoded = { ...common, "Content-Encoding": "gzip", Vary: "Origin, Accept, Accept-Encoding" };
    if (encoded.ETag) encoded.ETag = `W/${encoded.ETag}`;
    return sendBody(exchange, 200, encoded, () =>
      // An error or a reader that goes away closes both ends; it surfaces where the body is read.
      pipeline(open(0, size - 1), createGzip(), () => {}),
    );
  }
  return sendBody(exchange, 200, { ...common, "Content-Length": size }, () => open(0, size - 1));
}

/** Writes the head and, unless this is a HEAD, the body that `open` gives, with the body's faults. */
export async function sendBody({ request, response, fault, entry }, status, headers, open) {
  entry.status = status;
  for (const [name, value] of Object.entries({ ...headers, ...fault.headers })) {
    if (value === null) response.removeHeader(name);
    else response.setHeader(name, value);
  }
  response.writeHead(status);
  if (request.method === "HEAD" || status === 304) return response.end();
  response.flushHeaders();
  const limit = Math.min(fault.dropAfter ?? Number.POSITIVE_INFINITY, fault.stallAfter ?? Number.POSITIVE_INFINITY);
  if (limit > 0) {
    const body = open();
    for await (const chunk of body) {
      const piece = chunk.subarray(0, limit - entry.bytesSent);
      for (const part of fault.throttle ? paced(piece, fault.throttle) : [piece]) {
        if (!(await write(response, part))) return body.destroy();
        entry.bytesSent += part.length;
        if (fault.throttle) await sleep((1000 * part.length) / fault.throttle);
      }
      if (entry.bytesSent >= limit) break;
    }
  }
  if (fault.stallAfter !== undefined) return;
  if (fault.dropAfter !== undefined) {
    await new Promise((flushed) => response.socket?.write("", flushed) ?? flushed());
    return response.destroy();
  }
  response.end();
}

/** Resolves when the client has room for more: true, or false when it has gone. */
function write(response, chunk) {
  if (response.destroyed) return Promise.resolve(false);
  if (response.write(chunk)) return Promise.resolve(true);
  return new Promise((done) => {
    const settle = () => {
      response.off("drain", settle).off("close", settle);
      done(!response.destroyed);
    };
    response.on("drain", settle).on("close", settle);
  });
}

/** Pieces of about 50 ms each. */
function* paced(chunk, bytesPerSecond) {
  const step = Math.max(1, Math.ceil(bytesPerSecond / 20));
  for (let start = 0; start < chunk.length; start += step) yield chunk.subarray(start, start + step);
}
