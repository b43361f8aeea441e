import type { LayerInfo } from "layerline";
import { create, element } from "./dom.ts";
import * as format from "./format.ts";
import { type Presence, presence_of, TIERS, type Tier, tier_of } from "./tiers.ts";

/** A module as it is drawn. */
interface Drawn {
  layer: LayerInfo;
  tier: Tier;
  presence: Presence;
}

/**
 * The live map: a cell for each module in forward order, in the look of its tier, which fills as its bytes arrive; and what
 * each tier holds.
 *
 * One cell has the focus; arrow keys move it, and its details are written below the map.
 */
export class LayerMap {
  readonly #cells = element("layers", HTMLDivElement);
  readonly #count = element("layers-count", HTMLOutputElement);
  readonly #detail = element("layer-detail", HTMLParagraphElement);
  readonly #tiers = element("tiers", HTMLTableSectionElement);
  readonly #passing = element("legend-passing", HTMLLIElement);
  #drawn: readonly Drawn[] = [];
  #selected = 0;
  /** Up to which module a pass has come: those on disk are fetched when a pass first reaches them. */
  #reached = -1;
  /** What the table of tiers was made from. */
  #totalled = "";

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
        event.key === "Home" ? 0 : event.key === "End" ? this.#drawn.length - 1 : step && this.#selected + step;
      if (to === undefined || to < 0 || to >= this.#drawn.length) return;
      event.preventDefault();
      this.#select(to);
      (this.#cells.children[to] as HTMLElement).focus();
    });
  }

  clear(): void {
    this.#drawn = [];
    this.#selected = 0;
    this.#reached = -1;
    this.#cells.replaceChildren();
    this.#tiers.replaceChildren();
    this.#totalled = "";
    this.#count.textContent = "";
    this.#detail.textContent = "";
  }

  /** @param is_cached whether all weights are in the cache, and so on disk */
  update(layers: readonly LayerInfo[], is_cached: boolean): void {
    if (layers.length !== this.#drawn.length) {
      this.#cells.replaceChildren(...layers.map((_, i) => this.#new_cell(i)));
      this.#selected = 0;
    }
    layers.forEach((layer, i) => {
      // While one comes, those before it have been used.
      const used = layer.state === "resident" ? i : layer.state === "coming" ? i - 1 : -1;
      if (tier_of(layer.device) === "disk") this.#reached = Math.max(this.#reached, used);
    });
    this.#drawn = layers.map((layer, i) => {
      const tier = tier_of(layer.device);
      return { layer, tier, presence: presence_of(layer, is_cached || i <= this.#reached) };
    });
    this.#drawn.forEach((drawn, i) => {
      draw(drawn, this.#cells.children[i] as HTMLElement);
    });
    const in_place = this.#drawn.filter(({ presence }) => is_in_place(presence)).length;
    this.#count.textContent = `${in_place} of ${layers.length} in place`;
    this.#passing.hidden = this.bytes_in("disk") === 0;
    this.#total_up();
    this.#describe();
  }

  /** Notes that a pass has been through the whole model. */
  passed(): void {
    this.#reached = this.#drawn.length;
  }

  /** Whether everything is there that stays in memory. */
  get complete(): boolean {
    const staying = this.#drawn.filter(({ tier }) => tier !== "disk");
    return this.#drawn.length > 0 && staying.every(({ presence }) => presence === "resident");
  }

  /** Bytes that live in a tier. */
  bytes_in(tier: Tier): number {
    return sum(this.#drawn.filter((drawn) => drawn.tier === tier).map(({ layer }) => layer.bytes));
  }

  #new_cell(index: number): HTMLElement {
    const attributes = { class: "cell", role: "option", tabindex: index === 0 ? "0" : "-1", "data-index": `${index}` };
    return create("div", attributes);
  }

  #total_up(): void {
    const seen = JSON.stringify(this.#drawn.map((drawn) => [drawn.tier, bytes_in_place(drawn)]));
    // Whoever reads the table isn't interrupted where nothing changes.
    if (seen === this.#totalled) return;
    this.#totalled = seen;
    const rows = (Object.keys(TIERS) as Tier[]).map((tier) => {
      const { letter, name } = TIERS[tier];
      const inside = this.#drawn.filter((drawn) => drawn.tier === tier);
      const here = sum(inside.map(bytes_in_place));
      const total = this.bytes_in(tier);
      const swatch = create("i", { class: "cell", "data-tier": tier, "data-state": "resident", "aria-hidden": "true" });
      swatch.append(letter);
      return create(
        "tr",
        { "data-testid": `tier-${tier}`, "data-bytes": String(total), ...(inside.length === 0 && { class: "empty" }) },
        create("th", { scope: "row" }, swatch, name),
        create("td", {}, String(inside.length)),
        create("td", {}, format.bytes(total)),
        create("td", {}, format.bytes(here)),
      );
    });
    this.#tiers.replaceChildren(...rows);
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
    const drawn = this.#drawn[this.#selected];
    this.#detail.textContent = drawn ? describe(drawn) : "";
  }
}

function draw(drawn: Drawn, cell: HTMLElement): void {
  const { layer, tier, presence } = drawn;
  const fraction = layer.bytes > 0 ? layer.resident_bytes / layer.bytes : 0;
  const words = describe(drawn);
  cell.style.setProperty("--filled", `${Math.round(fraction * 100)}%`);
  cell.textContent = presence === "passing" ? "↑" : TIERS[tier].letter;
  cell.title = words;
  cell.dataset.name = layer.name;
  cell.dataset.state = presence;
  cell.dataset.tier = tier;
  cell.dataset.device = String(layer.device);
  cell.dataset.bytes = String(layer.bytes);
  cell.setAttribute("aria-label", words);
}

function is_in_place(presence: Presence): boolean {
  return presence === "resident" || presence === "passing";
}

function bytes_in_place({ layer, tier, presence }: Drawn): number {
  if (tier !== "disk") return layer.resident_bytes;
  return is_in_place(presence) ? layer.bytes : 0;
}

function describe({ layer: { name, bytes, resident_bytes }, tier, presence }: Drawn): string {
  const size = format.bytes(bytes);
  const { place } = TIERS[tier];
  if (presence === "passing") return `${name}: ${size} ${place}, now in memory to be used`;
  if (presence === "coming") return `${name}: ${format.bytes(resident_bytes)} of ${size} ${place}`;
  if (tier === "disk") {
    const rest = presence === "resident" ? "comes for each pass" : "from its first use on";
    return `${name}: ${size} ${place}, ${rest}`;
  }
  return presence === "resident" ? `${name}: ${size} ${place}` : `${name}: ${size} to be ${place}, not fetched yet`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}
