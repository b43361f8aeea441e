import type { LayerInfo } from "layerline";
import { create, element } from "./dom.ts";
import * as format from "./format.ts";

/**
 * The live map: a cell for each module in forward order, which fills as its bytes arrive.
 *
 * One cell has the focus; arrow keys move it, and its details are written below the map.
 */
export class LayerMap {
  readonly #cells = element("layers", HTMLDivElement);
  readonly #count = element("layers-count", HTMLOutputElement);
  readonly #detail = element("layer-detail", HTMLParagraphElement);
  #layers: readonly LayerInfo[] = [];
  #selected = 0;

  constructor() {
    for (const event of ["pointerover", "focusin", "click"]) {
      this.#cells.addEventListener(event, ({ target }) => {
        const index = Number((target as HTMLElement).dataset.index ?? Number.NaN);
        if (!Number.isNaN(index)) this.#select(index);
      });
    }
    this.#cells.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const to =
        event.key === "Home" ? 0 : event.key === "End" ? this.#layers.length - 1 : step && this.#selected + step;
      if (to === undefined || to < 0 || to >= this.#layers.length) return;
      event.preventDefault();
      this.#select(to);
      (this.#cells.children[to] as HTMLElement).focus();
    });
  }

  clear(): void {
    this.#layers = [];
    this.#selected = 0;
    this.#cells.replaceChildren();
    this.#count.textContent = "";
    this.#detail.textContent = "";
  }

  update(layers: readonly LayerInfo[]): void {
    if (layers.length !== this.#layers.length) {
      this.#cells.replaceChildren(...layers.map((_, i) => this.#new_cell(i)));
      this.#selected = 0;
    }
    this.#layers = layers;
    layers.forEach((layer, i) => {
      this.#draw(layer, this.#cells.children[i] as HTMLElement);
    });
    const resident = layers.filter((layer) => layer.state === "resident").length;
    this.#count.textContent = `${resident} of ${layers.length} in place`;
    this.#describe();
  }

  get complete(): boolean {
    return this.#layers.length > 0 && this.#layers.every((layer) => layer.state === "resident");
  }

  #new_cell(index: number): HTMLElement {
    const attributes = { class: "cell", role: "option", tabindex: index === 0 ? "0" : "-1", "data-index": `${index}` };
    return create("div", attributes);
  }

  #draw(layer: LayerInfo, cell: HTMLElement): void {
    const fraction = layer.state === "resident" ? 1 : layer.bytes > 0 ? layer.resident_bytes / layer.bytes : 0;
    cell.style.setProperty("--filled", `${Math.round(fraction * 100)}%`);
    cell.dataset.name = layer.name;
    cell.dataset.state = layer.state;
    cell.dataset.device = String(layer.device);
    cell.dataset.bytes = String(layer.bytes);
    cell.setAttribute("aria-label", describe(layer));
  }

  #select(index: number): void {
    this.#selected = index;
    this.#describe();
  }

  #describe(): void {
    for (const [i, cell] of [...this.#cells.children].entries()) {
      (cell as HTMLElement).tabIndex = i === this.#selected ? 0 : -1;
      cell.setAttribute("aria-selected", String(i === this.#selected));
    }
    const layer = this.#layers[this.#selected];
    this.#detail.textContent = layer ? describe(layer) : "";
  }
}

function describe({ name, state, bytes, resident_bytes, device }: LayerInfo): string {
  if (state === "resident") return `${name}: ${format.bytes(bytes)} on ${format.device(device)}`;
  if (state === "absent") return `${name}: ${format.bytes(bytes)}, not fetched yet`;
  return `${name}: ${format.bytes(resident_bytes)} of ${format.bytes(bytes)}, for ${format.device(device)}`;
}
