import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { modelInfo, pathsInfo, readBody, tree } from "./api.mjs";
import { Cdn } from "./cdn.mjs";
import { cdnCors, hubCors, isPreflight, preflightHeaders } from "./cors.mjs";
import { badRequest, HubError, notFound } from "./errors.mjs";
import { Faults } from "./faults.mjs";
import { Repos } from "./repos.mjs";
import { redirectLegacy, resolveCached, resolveFile } from "./resolve.mjs";
import { sendBody, sendJson, sendText } from "./send.mjs";

const CDN_EXPOSED = "ETag, Content-Length, Content-Range, Accept-Ranges";

/** Starts a hub on 127.0.0.1. Options and the returned object: README.md. */
export async function startHub(options) {
  const { port = 0, cdnPort = 0, urlTtlSeconds = 3600, cdnExposeHeaders = CDN_EXPOSED } = options;
  const hub = { log: [], faults: new Faults(), repos: new Repos(options), cdn: new Cdn(urlTtlSeconds) };
  const servers = {
    hub: createServer((request, response) => serve("hub", request, response)),
    cdn: createServer((request, response) => serve("cdn", request, response)),
  };
  hub.endpoint = await listen(servers.hub, port);
  hub.cdnOrigin = await listen(servers.cdn, cdnPort);

  async function serve(host, request, response) {
    const cors = host === "hub" ? { "X-Request-Id": randomUUID(), ...hubCors(request) } : cdnCors(cdnExposeHeaders);
    for (const [name, value] of Object.entries(cors)) response.setHeader(name, value);
    const url = parseUrl(request.url);
    const control = host === "hub" && url?.pathname.startsWith("/__");
    const route = url && host === "hub" ? findRoute(url) : undefined;
    const file = host === "cdn" && url ? hub.cdn.fileAt(url.pathname) : (route?.path ?? null);
    const entry = logEntry(host, request, response, url?.pathname ?? request.url, file);
    if (!control) hub.log.push(entry);
    const exchange = { request, response, entry, hub, fault: control ? {} : hub.faults.take(entry) };
    try {
      if (await misbehave(exchange, cors)) return;
      if (!url) throw badRequest("Malformed URL");
      if (isPreflight(request)) {
        await sendBody(exchange, 204, preflightHeaders(host, request), () => []);
      } else if (control) {
        await answerControl(exchange, url);
      } else if (host === "cdn") {
        await hub.cdn.answer(exchange, url);
      } else {
        await answerHub(exchange, url, route);
      }
    } catch (error) {
      await sendError(exchange, host, route, error);
    }
  }

  return {
    endpoint: hub.endpoint,
    cdn: hub.cdnOrigin,
    log: hub.log,
    faults: hub.faults,
    sha: (id, rev = "main") => hub.repos.sha(id, rev),
    push: (id, ref, path) => hub.repos.push(id, ref, path),
    close: () => Promise.all(Object.values(servers).map(close)),
  };
}

function listen(server, port) {
  return new Promise((listening, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", () => listening(`http://127.0.0.1:${server.address().port}`));
  });
}

function close(server) {
  return new Promise((closed) => {
    server.close(() => closed());
    server.closeAllConnections();
  });
}

function parseUrl(text) {
  try {
    const url = new URL(text, "http://hub");
    decodeURIComponent(url.pathname);
    return url;
  } catch {
    return undefined;
  }
}

function logEntry(host, request, response, path, file) {
  const entry = {
    time: Date.now(),
    method: request.method,
    host,
    path,
    file,
    range: request.headers.range ?? null,
    authorization: request.headers.authorization !== undefined,
    status: null,
    bytesSent: 0,
    done: "open",
  };
  response.on("close", () => {
    entry.done = response.writableFinished ? "sent" : "aborted";
  });
  return entry;
}

const ID = "((?:[^/]+/)?[^/]+)";
const ROUTES = [
  ["resolve", new RegExp(`^/${ID}/resolve/([^/]+)/(.+)$`)],
  ["resolveCached", /^\/api\/resolve-cache\/models\/([^/]+\/[^/]+)\/([^/]+)\/(.+)$/],
  ["modelInfo", new RegExp(`^/api/models/${ID}/revision/([^/]+)$`)],
  ["tree", new RegExp(`^/api/models/${ID}/tree/([^/]+)(?:/(.*))?$`)],
  ["pathsInfo", new RegExp(`^/api/models/${ID}/paths-info/([^/]+)$`)],
  ["modelInfo", new RegExp(`^/api/models/${ID}$`)],
];

function findRoute(url) {
  for (const [name, pattern] of ROUTES) {
    const match = pattern.exec(url.pathname);
    if (match) {
      const [id, rev = "main", path] = match.slice(1).map((part) => part && decodeURIComponent(part));
      return { name, id, rev, path };
    }
  }
  return undefined;
}

async function answerHub(exchange, url, route) {
  const { request, hub } = exchange;
  const reads = request.method === "GET" || request.method === "HEAD";
  if (!route || reads === (route.name === "pathsInfo")) throw notFound();
  const { name, id, rev, path } = route;
  const moved = hub.repos.movedTo(id);
  if (moved) return redirectLegacy(exchange, id, moved);
  const repo = await hub.repos.open(id, request.headers.authorization);
  switch (name) {
    case "resolve":
      return resolveFile(exchange, repo, rev, path);
    case "resolveCached":
      return resolveCached(exchange, repo, rev, path);
    case "tree":
      return tree(exchange, repo, rev, path, url);
    case "pathsInfo":
      return pathsInfo(exchange, repo, rev);
    default:
      return modelInfo(exchange, repo, rev, url.searchParams);
  }
}

/** Looks at the log and sets faults from a page, which can't call into this process. */
async function answerControl(exchange, url) {
  const { request, hub } = exchange;
  switch (`${request.method} ${url.pathname}`) {
    case "GET /__log":
      return sendJson(exchange, 200, {}, hub.log);
    case "DELETE /__log":
      hub.log.length = 0;
      return sendBody(exchange, 204, {}, () => []);
    case "PUT /__faults":
      try {
        hub.faults.set(JSON.parse((await readBody(request)).toString()));
      } catch (error) {
        throw error instanceof HubError ? error : badRequest(error.message);
      }
      return sendBody(exchange, 204, {}, () => []);
    case "DELETE /__faults":
      hub.faults.clear();
      return sendBody(exchange, 204, {}, () => []);
    default:
      throw notFound();
  }
}

/** The faults that come before or instead of an answer. True: there is nothing more to do. */
async function misbehave(exchange, cors) {
  const { response, fault } = exchange;
  if (fault.delay) await sleep(fault.delay);
  if (fault.destroy) response.destroy();
  if (fault.destroy || fault.hang) return true;
  if (fault.cors === false) for (const name of Object.keys(cors)) response.removeHeader(name);
  if (fault.status === undefined) return false;
  await sendText(exchange, fault.status, { "Content-Type": "text/plain", ...fault.headers }, fault.body ?? "");
  return true;
}

async function sendError(exchange, host, route, error) {
  const { response } = exchange;
  if (response.headersSent || !(error instanceof HubError)) {
    // A defect of the hub, or a file that went away: never to be taken for an answer of the Hub.
    console.error(error);
    return response.destroy();
  }
  if (host === "cdn") {
    const xml = `<?xml version="1.0" encoding="UTF-8"?><Error><Message>${error.message}</Message></Error>`;
    return sendText(exchange, error.status, { "Content-Type": "application/xml" }, xml);
  }
  const plain = route?.name.startsWith("resolve");
  return plain
    ? sendText(
        exchange,
        error.status,
        { ...error.headers(), "Content-Type": "text/plain; charset=utf-8" },
        error.message,
      )
    : sendJson(exchange, error.status, error.headers(), { error: error.message });
}
