import { AutoModelForCausalLM, AutoTokenizer, type DType, type ModelSource, type PreTrainedModel } from "layerline";
import { Cached } from "./cached.ts";
import { Chat } from "./chat.ts";
import { element } from "./dom.ts";
import { Download } from "./download.ts";
import { on_folder } from "./folder.ts";
import * as format from "./format.ts";
import { LayerMap } from "./layer_map.ts";
import { show_numbers } from "./numbers.ts";
import { hide_problem, missing_webgpu, show_problem } from "./problem.ts";

const HUB = "https://huggingface.co";
const EXAMPLE = "HuggingFaceTB/SmolLM2-135M-Instruct";
/** How often the map is redrawn while weights arrive. */
const POLL_MS = 250;

type Phase = "empty" | "opening" | "streaming" | "resident" | "failed";

const input = (id: string) => element(id, HTMLInputElement);
const load_button = element("load", HTMLButtonElement);
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
const chat = new Chat((busy) => {
  document.body.dataset.busy = String(busy);
  if (!busy) void refresh();
});

/** The load under way, or the model that is loaded. */
let session: { abort: AbortController; model?: PreTrainedModel; name: string } | undefined;

function set_phase(phase: Phase, words: string): void {
  document.body.dataset.phase = phase;
  status.textContent = words;
  load_button.textContent = phase === "opening" ? "Cancel" : session?.model ? "Load another" : "Load model";
}

/** Loads the repo that the form names, or a folder. */
async function load(folder?: { source: ModelSource; name: string }): Promise<void> {
  await unload();
  const name = folder?.name ?? input("model-id").value.trim();
  const source = folder?.source ?? name;
  const mine = { abort: new AbortController(), name } as NonNullable<typeof session>;
  session = mine;
  const { signal } = mine.abort;
  const hub = {
    endpoint: input("endpoint").value.trim(),
    ...(input("revision").value && { revision: input("revision").value.trim() }),
    ...(input("token").value && { token: input("token").value.trim() }),
    signal,
  };
  if (!folder) history.replaceState(null, "", `?${new URLSearchParams({ model: name, endpoint: hub.endpoint })}`);
  hide_problem(load_problem);
  download.clear();
  map.clear();
  download_section.hidden = false;
  set_phase("opening", `Opening ${mine.name}…`);
  try {
    const [tokenizer, model] = await Promise.all([
      AutoTokenizer.from_pretrained(source, hub),
      AutoModelForCausalLM.from_pretrained(source, {
        ...hub,
        device_map: "auto",
        dtype: (element("dtype", HTMLSelectElement).value || null) as DType | null,
        prefetch: input("prefetch").checked,
        progress_callback: (event) => session === mine && download.update(event),
      }).then((model) => {
        // Kept even if the tokenizer fails, so that it is disposed of.
        mine.model = model;
        return model;
      }),
    ]);
    inspector.hidden = false;
    chat.attach({ model, tokenizer });
    set_phase("streaming", `${mine.name} is open; its layers are coming`);
    element("prompt", HTMLTextAreaElement).focus({ preventScroll: true });
    if (input("prefetch").checked) model.ready().catch((error: unknown) => background_failure(mine, error));
    void follow(mine);
  } catch (error) {
    // Cancelled, or replaced by another load: nothing to report.
    if (session !== mine) return;
    await unload();
    set_phase("failed", `${mine.name} could not be loaded`);
    show_problem(load_problem, error);
  }
}

/** Weights stopped coming. What is there stays usable as far as it goes. */
function background_failure(mine: typeof session, error: unknown): void {
  if (session !== mine || mine?.abort.signal.aborted) return;
  document.body.dataset.phase = "failed";
  status.textContent = "Some layers could not be fetched";
  show_problem(load_problem, error);
}

async function unload(): Promise<void> {
  const old = session;
  session = undefined;
  if (!old) return;
  old.abort.abort();
  chat.attach(undefined);
  inspector.hidden = true;
  download_section.hidden = true;
  hide_problem(chat_problem);
  set_phase("empty", "No model loaded");
  await old.model?.dispose().catch((error: unknown) => console.warn(error));
  void cached.refresh();
}

/** Redraws the map until every layer is in place. */
async function follow(mine: typeof session): Promise<void> {
  while (session === mine && !map.complete) {
    if (!(await refresh())) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  if (session !== mine) return;
  // A layer that failed may have come since, when a token reached it.
  hide_problem(load_problem);
  const size = await mine?.model?.get_memory_footprint();
  void cached.refresh();
  if (session === mine) set_phase("resident", `${mine?.name} · ${format.bytes(size ?? 0)} of weights`);
}

/** Redraws the map and the numbers; false if the model can't be asked. */
async function refresh(): Promise<boolean> {
  const mine = session;
  if (!mine?.model) return false;
  try {
    const [layers, stats] = await Promise.all([mine.model.layers(), mine.model.stats()]);
    if (session !== mine) return false;
    map.update(layers);
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

const missing = await missing_webgpu();
if (missing) {
  const notice = element("no-webgpu", HTMLDivElement);
  notice.append(Object.assign(document.createElement("strong"), { textContent: "WebGPU is missing" }), ` ${missing}`);
  notice.hidden = false;
  load_button.disabled = true;
  status.textContent = "WebGPU is missing";
}
void cached.refresh();
document.body.dataset.started = "true";
