#!/usr/bin/env node
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { startHub } from "./server.mjs";

const { values } = parseArgs({
  options: {
    root: { type: "string" },
    port: { type: "string", default: "8090" },
    "cdn-port": { type: "string", default: "0" },
    "large-bytes": { type: "string" },
    repos: { type: "string" },
  },
});
if (!values.root) {
  console.error(
    "usage: node tests/hub/cli.mjs --root DIR [--port 8090] [--cdn-port 0] [--large-bytes N] [--repos repos.json]",
  );
  process.exit(2);
}

const hub = await startHub({
  root: values.root,
  port: Number(values.port),
  cdnPort: Number(values["cdn-port"]),
  ...(values["large-bytes"] ? { largeBytes: Number(values["large-bytes"]) } : {}),
  ...(values.repos ? { repos: JSON.parse(await readFile(values.repos, "utf8")) } : {}),
});
console.log(`hub ${hub.endpoint}`);
console.log(`cdn ${hub.cdn}`);

for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => hub.close().then(() => process.exit(0)));
