import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { build } from "vite";

// The strictest policy that WebAssembly runs under; the hub is on another port, so it is named.
const POLICY = [
  "default-src 'self'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self' http://127.0.0.1:*",
  "img-src 'self' data:",
].join("; ");

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

// With these a page is cross-origin isolated.
const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** Serves a folder on 127.0.0.1 under the policy, or as most pages are without one; on any free port unless told which. */
export async function serve(folder, port = 0, { isolated = false, policy = true } = {}) {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://localhost").pathname);
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    try {
      const body = await readFile(file);
      response.writeHead(200, {
        "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
        ...(policy && { "Content-Security-Policy": POLICY }),
        "X-Content-Type-Options": "nosniff",
        ...(isolated && ISOLATION),
      });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Bundles a Vite app with Vite's own defaults, and serves it. */
export async function bundleAndServe(root, port, options) {
  const outDir = await mkdtemp(join(tmpdir(), "layerline-site-"));
  await build({ root, configFile: false, logLevel: "warn", build: { outDir, emptyOutDir: true, target: "es2022" } });
  const site = await serve(outDir, port, options);
  return { url: site.url, close: () => site.close().then(() => rm(outDir, { recursive: true, force: true })) };
}
