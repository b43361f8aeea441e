import { type LayerInfo, LayerlineError, type PretrainedModelOptions } from "layerline";
import { element } from "./dom.ts";
import * as format from "./format.ts";
import { hide_problem, show_problem } from "./problem.ts";

/** Each key that moves the slider is a change: the model is placed anew once nothing has changed for so long. */
const SETTLE_MS = 400;

/** The slider for how much of the GPU a model may take, as a share of its weights' bytes, and where the rest is. */
export class Budget {
  readonly #section = element("budget-section", HTMLElement);
  readonly #slider = element("budget", HTMLInputElement);
  readonly #figures = element("budget-bytes", HTMLOutputElement);
  readonly #rest = element("offload-to", HTMLSelectElement);
  readonly #problem = element("budget-problem", HTMLDivElement);
  #total = 0;
  /** What must be on the GPU at a time: the largest module that passes, and what isn't weights. */
  #least = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param on_change is called when another placement is wished for */
  constructor(on_change: () => void) {
    this.#slider.addEventListener("input", () => this.#label());
    const changed = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(on_change, SETTLE_MS);
    };
    this.#slider.addEventListener("change", changed);
    this.#rest.addEventListener("change", () => {
      this.#label();
      // Without a rest, it makes no difference where that would be.
      if (this.share < 100) changed();
    });
  }

  /** Everything on the GPU, for a model whose size isn't known yet. */
  reset(): void {
    clearTimeout(this.#timer);
    this.#slider.value = this.#slider.max;
    this.#total = 0;
    this.#least = 0;
    this.#label();
    hide_problem(this.#problem);
  }

  /** The modules that the budget is shared out among, and the bytes that are kept for what isn't weights. */
  measure(layers: readonly LayerInfo[], kept: number): void {
    const sizes = layers.map(({ bytes }) => bytes);
    this.#total = sizes.reduce((sum, bytes) => sum + bytes, 0);
    this.#least = Math.max(0, ...sizes) + kept;
    this.#label();
  }

  /** Percent of the weights' bytes. */
  get share(): number {
    return this.#slider.valueAsNumber;
  }

  /** Shown or not: where there is no GPU, there is nothing to share out. */
  set is_shown(shown: boolean) {
    this.#section.hidden = !shown;
  }

  /** What `from_pretrained` is to be told. */
  get placement(): Pick<PretrainedModelOptions, "device_map" | "max_memory"> {
    if (this.share === 100) return { device_map: "auto" };
    // CPU memory, too, keeps as much free as the largest module takes. The disk takes what nothing else does.
    const cpu = this.#rest.value === "cpu" ? { cpu: 2 * this.#total } : {};
    return { device_map: "auto", max_memory: { 0: this.#bytes, ...cpu } };
  }

  /** Says why this budget didn't work, and which does. */
  fail(error: unknown): void {
    const least = Math.ceil((100 * this.#least) / this.#total / this.#step) * this.#step;
    const hint =
      `What is on disk passes through the GPU, and the largest module, KV cache and activations take ` +
      `${format.bytes(this.#least)}: the least that works is about ${least} %. Or keep the rest in CPU memory, where it can be ` +
      `computed too.`;
    const is_too_small = error instanceof LayerlineError && error.code === "DEVICE_MAP";
    show_problem(this.#problem, error, is_too_small ? hint : undefined);
  }

  hide_problem(): void {
    hide_problem(this.#problem);
  }

  get #step(): number {
    return Number(this.#slider.step);
  }

  get #bytes(): number {
    return Math.floor((this.share / 100) * this.#total);
  }

  #label(): void {
    const total = format.bytes(this.#total);
    const words = this.share === 100 ? `all, ${total}` : `${this.share} %, ${format.bytes(this.#bytes)} of ${total}`;
    this.#figures.value = this.#total > 0 ? words : "all";
    this.#slider.setAttribute("aria-valuetext", this.#figures.value);
    this.#slider.style.setProperty("--share", `${this.share}%`);
  }
}
