#!/usr/bin/env node
// Prints what Layerline costs on the sample model, beside the bars that it has set itself.
import { parseArgs } from "node:util";
import { measureCpuPeers } from "./cpu_peers.mjs";
import { measureKernels } from "./kernel_table.mjs";
import { measure, NEW_TOKENS, PROMPT_TOKENS } from "./layerline.mjs";
import { measureLoading } from "./loading.mjs";
import { measureOffload } from "./offload.mjs";
import { measurePeers } from "./peers.mjs";
import { measureQuantised } from "./quantised.mjs";
import { SHAPES } from "./synthetic.mjs";
import { measureThreads } from "./threads.mjs";
import { wasmSizes } from "./wasm_sizes.mjs";

const KNOWN = ["chromium", "firefox", "node"];
const options = {
  cpu: { type: "boolean" },
  kernels: { type: "boolean" },
  link: { type: "string" },
  loading: { type: "boolean" },
  offload: { type: "boolean" },
  peers: { type: "boolean" },
  quantised: { type: "boolean" },
  synthetic: { type: "string" },
  threads: { type: "boolean" },
};
const { values, positionals } = parseArgs({ options, allowPositionals: true });
const unknown = positionals.filter((name) => !KNOWN.includes(name));
if (unknown.length > 0) {
  console.error(`no environment ${unknown.join(", ")}; there are ${KNOWN.join(", ")}`);
  process.exit(2);
}
if (values.synthetic !== undefined && !Object.hasOwn(SHAPES, values.synthetic)) {
  console.error(`no shapes of ${values.synthetic}; there are ${Object.keys(SHAPES).join(", ")}`);
  process.exit(2);
}
const link = values.link === undefined ? undefined : Number(values.link);
if (link !== undefined && !(link > 0)) {
  console.error(`a link of ${values.link}; it has so many Mbit/s`);
  process.exit(2);
}
const environments = positionals.length > 0 ? positionals : ["chromium"];

const kb = (bytes) => `${(bytes / 1e3).toFixed(0)} kB`;
const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const percent = (share) => `${(share * 100).toFixed(0)} %`;
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const gbs = (rate) => `${(rate / 1e9).toFixed(3)} GB/s`;

function row(name, value, bar) {
  const verdict = !bar ? "" : `   ${bar.met ? "met" : "MISSED"}: ${bar.text}`;
  console.log(`  ${name.padEnd(34)} ${value}${verdict}`);
}

function printSizes() {
  console.log("\nwasm, raw / gzip -9 / brotli");
  for (const { name, raw, gzip, brotli } of wasmSizes()) {
    const bar = name === "together" ? { met: gzip <= 2.5e6, text: "at most 2.5 MB gzip" } : undefined;
    row(name, `${kb(raw)} / ${kb(gzip)} / ${kb(brotli)}`, bar);
  }
}

function printEnvironment(name, { opening, cold, stats, config, prefillMs, tokenMs, rss, products, rounds }) {
  const { adapter } = stats;
  const features = [adapter.shader_f16 && "shader-f16", adapter.subgroups && "subgroups"].filter(Boolean).join(", ");
  const title = [adapter.vendor, adapter.architecture, adapter.description].filter(Boolean).join(" ");
  console.log(`\n${name}: ${title} (${features || "no optional features"}); weights ${stats.kernels}`);

  const perLayer = stats.dispatches_per_token / config.num_hidden_layers;
  row("dispatches a token", `${stats.dispatches_per_token}`);
  row("  a layer, all else included", perLayer.toFixed(2), { met: perLayer <= 9, text: "at most 9" });
  row("CPU time to encode a token", `${stats.encode_us_per_token.toFixed(0)} µs`);
  row(`prefill of ${PROMPT_TOKENS} tokens`, `${((PROMPT_TOKENS * 1000) / prefillMs).toFixed(2)} tokens/s`);
  row(`decode of ${NEW_TOKENS} tokens after them`, `${(1000 / tokenMs).toFixed(2)} tokens/s`);
  row("fetched before from_pretrained", `${kb(opening.fetched_bytes)} in ${opening.requests} requests`);
  row("fetched before the first token", `${mb(cold.fetched_bytes)} in ${cold.requests} requests`);
  row("from nothing to the first token", `${(cold.ms / 1000).toFixed(1)} s`);

  const gpu = stats.peak_gpu_bytes - stats.weight_bytes;
  const beyond = gpu + stats.wasm_memory_bytes;
  row("weights on the GPU", mb(stats.weight_bytes));
  row("peak beyond them", mb(beyond), { met: beyond <= 64e6, text: "at most 64 MB" });
  row("  cache, activations, staging", mb(gpu));
  row("  wasm memory", mb(stats.wasm_memory_bytes));
  if (rss !== undefined)
    row("browser's peak RSS, weights in it", `${mb(rss)} (summed over its processes, less the empty page's)`);

  // Every weight is read once for a token: the sample model's head is its embedding.
  const read = stats.weight_bytes;
  const shares = rounds.map((round) => (read * 1000) / round.tokenMs / round.bytesPerSecond).sort((a, b) => a - b);
  const share = median(shares);
  row("decode reads weights at", gbs((read * 1000) / median(rounds.map((round) => round.tokenMs))));
  row("the best single product at", gbs(median(rounds.map((round) => round.bytesPerSecond))));
  row("  share", percent(share), { met: share >= 0.6, text: "at least 60 %" });
  console.log(`    medians of ${rounds.length} turns; shares ${shares.map(percent).join(", ")}`);
  console.log("    single products; the first is the one that took turns with decoding:");
  for (const { name, shape, bytesPerSecond } of products) {
    console.log(`    ${gbs(bytesPerSecond)}  ${shape.join(" × ")}, ${name}`);
  }
}

function printPeers({ version, loadMs, rss, ours, theirs, sameIds }) {
  console.log(`\nchromium, beside transformers.js ${version} (WebGPU, float32 ONNX of the same weights)`);
  // Its fastest token, for its first ones compile kernels; our slower run.
  const fastest = Math.min(...theirs);
  const slower = Math.max(...ours);
  const speed = (ms) => `${(1000 / ms).toFixed(2)} tokens/s`;
  row("transformers.js's fastest token", speed(fastest));
  row("Layerline decodes at", `${ours.map(speed).join(" before, ")} after`);
  const ratio = fastest / slower;
  row("  times as fast, by the slower", `${ratio.toFixed(1)} ×`, { met: ratio >= 5, text: "at least 5 ×" });
  row("both chose the same tokens", sameIds ? "yes" : "no");
  row("transformers.js loads in", `${(loadMs / 1000).toFixed(1)} s`);
  row("its browser's peak RSS", mb(rss));
}

function printCpuPeers({ versions, promptTokens, rounds }) {
  const peers = `transformers.js ${versions.transformers} (float32 ONNX) and wllama ${versions.wllama} (GGUF)`;
  console.log(`\nchromium without WebGPU, one thread each: bfloat16 beside ${peers}`);
  printTurns(rounds, promptTokens, { ours: "", transformers: "transformers.js " });
  printTurns(rounds, promptTokens, { ours: "", f16: "wllama, float16 " });
  printTurns(rounds, promptTokens, { ours: "", q4_1: "wllama, Q4_1 " });
  printTurns(rounds, promptTokens, { ours: "", without: "without relaxed-simd " });
  row("transformers.js chose the same tokens", rounds.every(({ sameIds }) => sameIds) ? "yes" : "no");
}

function printThreads({ threads, promptTokens, rounds }) {
  console.log(`\nchromium without WebGPU, cross-origin isolated: ${threads} threads beside one, in turns`);
  printTurns(rounds, promptTokens, { all: "", one: "one thread " });
}

function printQuantised({ name, device, loaded, promptTokens, rounds }) {
  console.log(
    `\n${name}${device === "cpu" ? " without WebGPU, one thread" : ""}: weights rounded to integers, in turns`,
  );
  for (const [kind, { ms, weight_bytes }] of Object.entries(loaded)) {
    row(kind, `${mb(weight_bytes)} of weights, there after ${(ms / 1000).toFixed(2)} s`);
  }
  for (const kind of ["int8", "int4"]) {
    console.log(`  ${kind}`);
    printTurns(rounds, promptTokens, { [kind]: "", halves: "in half precision " });
  }
}

function printOffload({ name, promptTokens, rounds }) {
  console.log(`\n${name}: layers in CPU memory, medians of ${rounds.length} turns; tokens/s`);
  const kinds = {
    gpu: "all layers on the GPU",
    cpu: "all on the CPU",
    half: "half in CPU memory",
    computed: "  all of those computed there",
    streamed: "  all of those brought to the GPU",
  };
  const speed = (round, kind, what) =>
    what === "decode" ? 1000 / round[kind].tokenMs : (promptTokens * 1000) / round[kind].prefillMs;
  const of = (kind, what) => median(rounds.map((round) => speed(round, kind, what)));
  for (const [kind, text] of Object.entries(kinds)) {
    row(
      text,
      `prefill of ${promptTokens}: ${of(kind, "prefill").toFixed(1)}; decode: ${of(kind, "decode").toFixed(1)}`,
    );
  }
  const shown = (ratios) => ratios.map((ratio) => ratio.toFixed(2)).join(", ");
  const decodes = rounds.map((round) => {
    const [half, cpu, streamed] = ["half", "cpu", "streamed"].map((kind) => speed(round, kind, "decode"));
    return half / Math.max(cpu, streamed);
  });
  const prefills = rounds.map((round) => speed(round, "half", "prefill") / speed(round, "computed", "prefill"));
  for (const what of ["prefill", "decode"]) {
    const chosen = rounds.map((round) => {
      const [half, ...ways] = ["half", "computed", "streamed"].map((kind) => speed(round, kind, what));
      return half / Math.max(...ways);
    });
    const met = median(chosen) >= 0.9;
    row(`${what}, what it chose beside the better way`, shown(chosen), { met, text: "the better one, within a tenth" });
  }
  // What a GPU that is slower than the CPU has computed can't be faster than the CPU alone.
  const faster = (what) => of("gpu", what) > of("cpu", what);
  const bar = (what, ratios, least, text) => faster(what) && { met: median(ratios) >= least, text };
  row(
    "decode, half beside the better of cpu and brought",
    shown(decodes),
    bar("decode", decodes, 1, "at least as fast"),
  );
  row("prefill, half beside computed there", shown(prefills), bar("prefill", prefills, 1.5, "at least 1.5 times"));
  for (const what of ["decode", "prefill"]) {
    if (!faster(what)) console.log(`    this GPU is slower than the CPU (${what}): there is no bar`);
  }
}

/** Two that took turns: the first, and how many times as fast as the second it is. */
function printTurns(rounds, promptTokens, names) {
  const [[first, label], [second, other]] = Object.entries(names);
  for (const [name, time, tokens] of [
    [`prefill of ${promptTokens} tokens`, "prefillMs", promptTokens],
    ["decode after them", "tokenMs", 1],
  ]) {
    const speeds = (who) => rounds.map((round) => (tokens * 1000) / round[who][time]);
    const shown = (who) => `${median(speeds(who)).toFixed(1)} tokens/s`;
    const beside = speeds(second);
    const ratios = speeds(first).map((speed, round) => speed / beside[round]);
    row(name, `${label}${shown(first)}; ${other}${shown(second)}`);
    row("  times as fast", ratios.map((ratio) => ratio.toFixed(2)).join(", "), {
      met: median(ratios) >= 1,
      text: "at least as fast",
    });
  }
}

function printLoading({ bytes, rounds }) {
  const over = link === undefined ? "the loopback" : `a link of at most ${link} Mbit/s`;
  console.log(`\nchromium, a load of ${mb(bytes)} in bfloat16 over ${over}, medians of ${rounds.length} rounds`);
  const seconds = (kind) => median(rounds.map((round) => round[kind].ms)) / 1000;
  const grown = (kind) => Math.max(...rounds.map((round) => round[kind].pageGrowth));
  row(
    "a bare fetch into GPU buffers",
    `${seconds("baseline").toFixed(2)} s, ${((bytes * 8) / seconds("baseline") / 1e6).toFixed(0)} Mbit/s; the page's process grew by ${mb(grown("baseline"))}`,
  );
  const named = {
    uncached: "without the cache",
    filling: "filling it",
    warm: "from it",
    pinned: "from it, by a commit",
  };
  for (const [kind, name] of Object.entries(named)) {
    const ratios = rounds.map((round) => round[kind].ms / round.baseline.ms);
    const ratio = median(ratios);
    const bar = { met: ratio <= 1.3, text: "at most 1.3 times the bare fetch" };
    row(
      name,
      `${seconds(kind).toFixed(2)} s, ${ratio.toFixed(2)} times (${ratios.map((r) => r.toFixed(2)).join(", ")})`,
      bar,
    );
    row(
      "  headers and kernels before it",
      `${(median(rounds.map((round) => round[kind].headMs)) / 1000).toFixed(2)} s`,
    );
    const last = rounds.at(-1)[kind];
    const weights = last.log.filter(({ file }) => file?.endsWith(".safetensors")).length;
    const most = { uncached: undefined, filling: undefined, warm: 1, pinned: 0 }[kind];
    row(
      "  requests, for weights",
      `${last.stats.requests}, ${weights}`,
      most !== undefined && { met: last.stats.requests <= most && weights === 0, text: `at most ${most}, 0` },
    );
    const gpu = Math.max(...rounds.map((round) => round[kind].stats.peak_gpu_bytes - round[kind].stats.weight_bytes));
    const wasm = Math.max(...rounds.map((round) => round[kind].stats.wasm_memory_bytes));
    const page = grown(kind);
    row(
      "  peak beyond the weights",
      `${mb(gpu)} of GPU buffers, ${mb(wasm)} of wasm memory; the page's process grew by ${mb(page)}`,
      { met: page - grown("baseline") + gpu <= 64e6, text: "at most 64 MB over the bare fetch" },
    );
  }
}

function printKernels(name, { sections, host }) {
  console.log(`\n${name}: kernels alone; the first of a kind is the engine's for GPUs`);
  row("encoding a dispatch", `${host.encodeUs.toFixed(2)} µs`);
  row("submitting a pass", `${host.submitUs.toFixed(1)} µs`);
  row("from a submit to its result", `${host.roundTripUs.toFixed(0)} µs`);
  row("writeBuffer", gbs(host.writeBytesPerSecond));
  const ceiling = (label) => sections[0].rows.find((one) => one.label === label);
  const rate = ({ us, bytes, flops }, of) => {
    if (flops) return [flops / us / 1e6, "TFLOP/s", of && of.flops / of.us / 1e6];
    return [bytes / us / 1e3, "GB/s", of && of.bytes / of.us / 1e3];
  };
  for (const [index, { title, rows }] of sections.entries()) {
    console.log(`\n  ${title}`);
    for (const one of rows.filter(({ skipped }) => !skipped)) {
      const { label, us, error, bytes, flops } = one;
      const [value, unit, most] =
        us && (bytes || flops) ? rate(one, index > 0 && ceiling(flops ? "multiply-add" : "read")) : [];
      const share = most ? `${percent(value / most).padStart(6)}` : "";
      const text = value ? `${value.toFixed(value < 100 ? 2 : 0).padStart(7)} ${unit}${share}` : "";
      console.log(
        `    ${error ? `can't run: ${error}` : `${us.toFixed(2).padStart(9)} µs ${text.padEnd(22)}`} ${label}`,
      );
    }
  }
}

printSizes();
if (values.loading) {
  printLoading(await measureLoading(link));
  process.exit(0);
}
if (values.cpu) {
  printCpuPeers(await measureCpuPeers());
  process.exit(0);
}
if (values.quantised) {
  for (const name of environments) {
    for (const device of ["cpu", "gpu"]) printQuantised(await measureQuantised(name, device));
  }
  process.exit(0);
}
if (values.offload) {
  for (const name of environments) printOffload(await measureOffload(name, values.synthetic));
  process.exit(0);
}
if (values.threads) {
  printThreads(await measureThreads());
  process.exit(0);
}
for (const name of environments) {
  printEnvironment(name, await measure(name, values.synthetic));
  if (values.kernels) printKernels(name, await measureKernels(name, values.synthetic ?? "llama-1b"));
}

if (values.peers) printPeers(await measurePeers());
