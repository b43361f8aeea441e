import type { ProgressInfo } from "layerline";
import { create, element } from "./dom.ts";
import * as format from "./format.ts";

/** The overall bar, and a small one for each file. */
export class Download {
  readonly #bar = element("download-bar", HTMLProgressElement);
  readonly #bytes = element("download-bytes", HTMLOutputElement);
  readonly #list = element("files", HTMLUListElement);
  readonly #summary = document.getElementById("files-summary");
  #loaded = 0;
  #total = 0;
  #is_paused = false;
  readonly #files = new Map<string, { bar: HTMLProgressElement; figures: HTMLElement }>();

  clear(): void {
    this.#is_paused = false;
    this.#files.clear();
    this.#list.replaceChildren();
    this.#bar.value = 0;
    this.#loaded = 0;
    this.#total = 0;
    this.#label();
    if (this.#summary) this.#summary.textContent = "Files";
  }

  update(event: ProgressInfo): void {
    if (event.status === "progress_total") {
      this.#bar.value = event.progress;
      this.#loaded = event.loaded;
      this.#total = event.total;
      this.#label();
    } else if (event.status === "progress") {
      const file = this.#file(event.file);
      file.bar.value = event.progress;
      file.figures.textContent = `${format.bytes(event.loaded)} of ${format.bytes(event.total)}`;
    } else if (event.status === "done") {
      this.#file(event.file).bar.value = 100;
    }
  }

  /** Notes that nothing more comes until it is needed. */
  pause(): void {
    this.#is_paused = true;
    this.#label();
  }

  #label(): void {
    if (this.#total === 0) {
      this.#bytes.value = this.#is_paused ? "each layer's when needed" : "";
      return;
    }
    const rest = this.#is_paused && this.#loaded < this.#total ? "; the rest when needed" : "";
    this.#bytes.value = `${format.bytes(this.#loaded)} of ${format.bytes(this.#total)}${rest}`;
  }

  #file(name: string) {
    const known = this.#files.get(name);
    if (known) return known;
    const bar = create("progress", { max: "100", value: "0", "aria-label": name });
    const figures = create("span", { class: "figures" });
    this.#list.append(create("li", {}, create("span", { class: "name" }, name), figures, bar));
    const file = { bar, figures };
    this.#files.set(name, file);
    if (this.#summary) this.#summary.textContent = `Files (${this.#files.size})`;
    return file;
  }
}
