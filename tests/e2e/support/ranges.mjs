import { openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";

/** Where each tensor of a sharded checkpoint lies: `{name, file, start, end}`, in bytes of its file. */
export function tensorsOf(folder) {
  const { weight_map } = JSON.parse(readFileSync(join(folder, "model.safetensors.index.json"), "utf8"));
  return [...new Set(Object.values(weight_map))].flatMap((file) => {
    const fd = openSync(join(folder, file));
    const length = Buffer.alloc(8);
    readSync(fd, length, 0, 8, 0);
    const header = Buffer.alloc(Number(length.readBigUInt64LE()));
    readSync(fd, header, 0, header.length, 8);
    const base = 8 + header.length;
    return Object.entries(JSON.parse(header.toString("utf8")))
      .filter(([name]) => name !== "__metadata__")
      .map(([name, { data_offsets }]) => ({ name, file, start: base + data_offsets[0], end: base + data_offsets[1] }));
  });
}

/** Requests of a hub's log that read bytes of shards, as `{file, start, end}`; redirects have no body and are left out. */
export function shardReads(log) {
  return log
    .filter(({ method, file, status }) => method === "GET" && file?.endsWith(".safetensors") && status < 300)
    .map(({ file, range, bytesSent }) => {
      const match = /^bytes=(\d+)-(\d+)$/.exec(range ?? "");
      if (!match) throw new Error(`${file} was asked for without a range of two ends: ${range}`);
      return { file, start: Number(match[1]), end: Number(match[2]) + 1, bytesSent };
    });
}

/** The parts of a model that a read touches, in the order of the forward pass: 0 the embedding, 1… the blocks, then the rest. */
export function partsTouched(read, tensors, blocks) {
  const touched = tensors.filter(({ file, start, end }) => file === read.file && start < read.end && read.start < end);
  return new Set(touched.map(({ name }) => partOf(name, blocks)));
}

function partOf(name, blocks) {
  const block = /\.layers\.(\d+)\./.exec(name);
  if (block) return 1 + Number(block[1]);
  return name.includes("embed_tokens") ? 0 : 1 + blocks;
}

/** How many bytes of a file's tensors were asked for more than once, and how many never. */
export function coverage(reads, tensors) {
  let twice = 0;
  let never = 0;
  for (const { file, start, end } of tensors) {
    const parts = reads
      .filter((read) => read.file === file && read.start < end && start < read.end)
      .map((read) => [Math.max(read.start, start), Math.min(read.end, end)])
      .sort((a, b) => a[0] - b[0]);
    let at = start;
    for (const [from, to] of parts) {
      if (from > at) never += from - at;
      twice += Math.max(0, Math.min(at, to) - from);
      at = Math.max(at, to);
    }
    never += Math.max(0, end - at);
  }
  return { twice, never };
}
