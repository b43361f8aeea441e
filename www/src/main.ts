import {
  AutoModelForCausalLM,
  AutoTokenizer,
  type DType,
  type ModelSource,
  type PreTrainedModel,
  type PreTrainedTokenizer,
} from "layerline";
import { Budget } from "./budget.ts";
import { Cached } from "./cached.ts";
import { Chat } from "./chat.ts";
import { create, element } from "./dom.ts";
import { Download } from "./download.ts";
import { on_folder } from "./folder.ts";
import * as format from "./format.ts";
import { LayerMap } from "./layer_map.ts";
import { show_numbers } from "./numbers.ts";
import { hide_problem, missing_webgpu, sentence, show_problem } from "./problem.ts";
import { TIERS, type Tier } from "./tiers.ts";

const HUB = "https://huggingface.co";
const EXAMPLE = "HuggingFaceTB/SmolLM2-135M-Instruct";
/** How often the map is redrawn while weights arrive. */
const POLL_MS = 250;

type Device = "auto" | "webgpu" | "cpu";
type Phase = "empty" | "opening" | "streaming" | "resident" | "failed";

const input = (id: string) => element(id, HTMLInputElement);
const load_button = element("load", HTMLButtonElement);
const device_select = element("device", HTMLSelectElement);
const status = element("status", HTMLParagraphElement);
const load_problem = element("load-problem", HTMLDivElement);
const chat_problem = element("chat-problem", HTMLDivElement);
const inspector = element("inspector", HTMLElement);
const download_section = element("download", HTMLElement);
const map = new LayerMap();
const download = new Download();
const cached = new Cached(
  (repo_id) => {
    input("model-id").value = repo_id;
    void load();
  },
  (error) => show_problem(load_problem, error),
);
const chat = new Chat(
  (busy) => {
    document.body.dataset.busy = String(busy);
    if (busy) void follow(session);
    else {
      void refresh(session);
      void cached.refresh();
    }
  },
  () => {
    map.passed();
    if (session) session.is_cached = true;
  },
);
const budget = new Budget(() => void place_anew());

/** What was asked for when a model was loaded. */
interface Wish {
  source: ModelSource;
  name: string;
  hub: { endpoint: string; revision?: string; token?: string };
  dtype: DType | null;
  device: Device;
  prefetch: boolean;
}

/** The load under way, or the model that is loaded. */
interface Session {
  wish: Wish;
  abort: AbortController;
  tokenizer?: PreTrainedTokenizer;
  model?: PreTrainedModel;
  /** Whether all weights have come once, and so are in the cache. */
  is_cached: boolean;
  /** Whether everything is there that stays in memory, and the page has said so. */
  is_settled: boolean;
  is_followed: boolean;
}

let session: Session | undefined;

function set_phase(phase: Phase, words: string): void {
  document.body.dataset.phase = phase;
  status.textContent = words;
  load_button.textContent = phase === "opening" ? "Cancel" : session?.model ? "Load another" : "Load model";
}

function start(wish: Wish, is_cached: boolean): Session {
  return { wish, abort: new AbortController(), is_cached, is_settled: false, is_followed: false };
}

/** Loads the repo that the form names, or a folder. */
async function load(folder?: { source: ModelSource; name: string }): Promise<void> {
  const old = session;
  const name = folder?.name ?? input("model-id").value.trim();
  const [revision, token] = [input("revision").value.trim(), input("token").value.trim()];
  const hub = { endpoint: input("endpoint").value.trim(), ...(revision && { revision }), ...(token && { token }) };
  const dtype = (element("dtype", HTMLSelectElement).value || null) as DType | null;
  const device = device_select.value as Device;
  const prefetch = input("prefetch").checked;
  const mine = start({ source: folder?.source ?? name, name, hub, dtype, device, prefetch }, false);
  session = mine;
  const query = { model: name, endpoint: hub.endpoint, ...(device !== "auto" && { device }) };
  if (!folder) history.replaceState(null, "", `?${new URLSearchParams(query)}`);
  chat.attach(undefined);
  budget.reset();
  inspector.hidden = true;
  hide_problem(load_problem);
  set_phase("opening", `Opening ${name}…`);
  await close(old);
  if (session !== mine) return;
  try {
    const loaded = await open(mine);
    const { adapter, without_gpu, kept_gpu_bytes } = await loaded.model.stats();
    budget.measure(await loaded.model.layers(), kept_gpu_bytes);
    budget.is_shown = adapter !== null;
    if (!missing) notice(without_gpu === null ? undefined : "The CPU computes.", sentence(without_gpu ?? ""));
    if (!(await refresh(mine))) return;
    inspector.hidden = false;
    chat.attach(loaded);
    element("prompt", HTMLTextAreaElement).focus({ preventScroll: true });
    begin(mine, loaded.model);
  } catch (error) {
    // Cancelled, or replaced by another load: nothing to report.
    if (session !== mine) return;
    await unload();
    set_phase("failed", `${name} could not be loaded`);
    show_problem(load_problem, error);
  }
}

/** Loads the same model by another budget. The conversation goes on. */
async function place_anew(): Promise<void> {
  const old = session;
  if (!old) return;
  const mine = start(old.wish, old.is_cached);
  if (old.tokenizer) mine.tokenizer = old.tokenizer;
  session = mine;
  const { name } = mine.wish;
  budget.hide_problem();
  hide_problem(load_problem);
  set_phase("opening", chat.is_busy ? "Stopping the answer…" : `Placing ${name} anew…`);
  await chat.pause();
  if (session !== mine) return close(old);
  set_phase("opening", `Placing ${name} anew…`);
  await close(old);
  if (session !== mine) return;
  try {
    const loaded = await open(mine);
    if (!(await refresh(mine))) return;
    chat.resume(loaded);
    begin(mine, loaded.model);
  } catch (error) {
    if (session !== mine) return;
    await close(mine);
    delete mine.model;
    if (session !== mine) return;
    show_inside(false);
    chat.wait("Choose a GPU budget");
    set_phase("failed", `${name} has no room in this GPU budget`);
    budget.fail(error);
  }
}

/** Opens what the session wishes for, as the budget says. */
async function open(mine: Session): Promise<{ model: PreTrainedModel; tokenizer: PreTrainedTokenizer }> {
  const { source, hub, dtype, device, prefetch } = mine.wish;
  const { signal } = mine.abort;
  download.clear();
  download_section.hidden = false;
  const [tokenizer, model] = await Promise.all([
    mine.tokenizer ?? AutoTokenizer.from_pretrained(source, { ...hub, signal }),
    AutoModelForCausalLM.from_pretrained(source, {
      ...hub,
      // The CPU has all of it.
      ...(device !== "cpu" && budget.placement),
      dtype,
      device,
      prefetch,
      signal,
      progress_callback: (event) => session === mine && download.update(event),
    }).then((model) => {
      // Kept even if the tokenizer fails, so that it is disposed of.
      mine.model = model;
      if (session !== mine) void close(mine);
      return model;
    }),
  ]);
  mine.tokenizer = tokenizer;
  if (session === mine) {
    map.clear();
    show_inside(true);
  }
  return { model, tokenizer };
}

/** Shows or hides all that is known of a model but its budget. */
function show_inside(shown: boolean): void {
  for (const part of ["map", "model-figures"]) element(part, HTMLElement).hidden = !shown;
  download_section.hidden = !shown;
}

/** Follows the weights of a model that has been opened. */
function begin(mine: Session, model: PreTrainedModel): void {
  const { name, prefetch } = mine.wish;
  set_phase("streaming", `${name} is open; its layers ${prefetch ? "are coming" : "come when they are needed"}`);
  if (prefetch) model.ready().catch((error: unknown) => background_failure(mine, error));
  else download.pause();
  void follow(mine);
}

/** Weights stopped coming. What is there stays usable as far as it goes. */
function background_failure(mine: Session, error: unknown): void {
  if (session !== mine || mine.abort.signal.aborted) return;
  document.body.dataset.phase = "failed";
  status.textContent = "Some layers could not be fetched";
  show_problem(load_problem, error);
}

async function close(old: Session | undefined): Promise<void> {
  old?.abort.abort();
  await old?.model?.dispose().catch((error: unknown) => console.warn(error));
}

async function unload(): Promise<void> {
  const old = session;
  session = undefined;
  if (!old) return;
  chat.attach(undefined);
  inspector.hidden = true;
  download_section.hidden = true;
  hide_problem(chat_problem);
  set_phase("empty", "No model loaded");
  await close(old);
  void cached.refresh();
}

/** Says what is to be known of this browser, or nothing. */
function notice(heading: string | undefined, words: string): void {
  const panel = element("no-webgpu", HTMLDivElement);
  panel.hidden = heading === undefined;
  panel.replaceChildren(...(heading === undefined ? [] : [create("strong", {}, heading), ` ${words}`]));
}

/** Redraws the map while weights come, and while an answer is written. */
async function follow(mine: Session | undefined): Promise<void> {
  if (!mine || mine.is_followed) return;
  mine.is_followed = true;
  while (await refresh(mine)) {
    if (map.complete && !mine.is_settled) settle(mine);
    if (mine.is_settled && !chat.is_busy) break;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  mine.is_followed = false;
}

/** Everything is there that stays in memory. */
function settle(mine: Session): void {
  mine.is_settled = true;
  // A layer that failed may have come since, when a token reached it.
  hide_problem(load_problem);
  void cached.refresh();
  mine.is_cached ||= map.bytes_in("disk") === 0;
  download.pause();
  const held = (Object.keys(TIERS) as Tier[]).filter((tier) => map.bytes_in(tier) > 0);
  const weights = held.map((tier) => `${format.bytes(map.bytes_in(tier))} ${TIERS[tier].place}`);
  set_phase("resident", `${mine.wish.name} · ${weights.join(", ")}`);
}

/** Redraws the map and the numbers; false if the model can't be asked. */
async function refresh(mine: Session | undefined): Promise<boolean> {
  if (!mine?.model || session !== mine) return false;
  try {
    const [layers, stats] = await Promise.all([mine.model.layers(), mine.model.stats()]);
    if (session !== mine) return false;
    map.update(layers, mine.is_cached);
    show_numbers(stats);
    return true;
  } catch (error) {
    background_failure(mine, error);
    return false;
  }
}

element("load-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  void (document.body.dataset.phase === "opening" ? unload() : load());
});

on_folder((source, name) => void load({ source, name }));

const query = new URLSearchParams(location.search);
input("model-id").value = query.get("model") ?? EXAMPLE;
input("endpoint").value = query.get("endpoint") ?? HUB;

const asked = [...device_select.options].find(({ value }) => value === query.get("device"));
if (asked) asked.selected = true;

const missing = await missing_webgpu();
if (missing) {
  notice("WebGPU is missing: models run on the CPU, more slowly", missing);
  budget.is_shown = false;
}
void cached.refresh();
document.body.dataset.started = "true";
