import { type CachedRepoInfo, cache } from "layerline";
import { create, element } from "./dom.ts";
import * as format from "./format.ts";

/** What earlier visits have left in this browser: a list to open again from, and to delete from. */
export class Cached {
  readonly #panel = element("cached", HTMLDetailsElement);
  readonly #list = element("cached-repos", HTMLUListElement);
  readonly #open: (repo_id: string) => void;
  readonly #failed: (error: unknown) => void;

  /** @param open is called with the repo that is picked from the list */
  constructor(open: (repo_id: string) => void, failed: (error: unknown) => void) {
    this.#open = open;
    this.#failed = failed;
  }

  /** Reads the list anew. */
  async refresh(): Promise<void> {
    try {
      const { repos, size_on_disk } = await cache.scan();
      this.#panel.hidden = repos.length === 0;
      element("cached-summary", HTMLElement).textContent = `Kept in this browser: ${format.bytes(size_on_disk)}`;
      this.#list.replaceChildren(...repos.map((repo) => this.#row(repo)));
    } catch (error) {
      this.#failed(error);
    }
  }

  #row({ repo_id, endpoint, size_on_disk }: CachedRepoInfo): HTMLLIElement {
    const open = create("button", { type: "button", class: "name", title: `Load it (from ${endpoint})` }, repo_id);
    open.addEventListener("click", () => this.#open(repo_id));
    const remove = create("button", { type: "button", class: "quiet", "aria-label": `Delete ${repo_id}` }, "Delete");
    remove.addEventListener("click", () => {
      remove.disabled = true;
      cache
        .delete({ repo_id, endpoint })
        .catch((error: unknown) => this.#failed(error))
        .finally(() => void this.refresh());
    });
    return create("li", {}, open, create("span", { class: "figures" }, format.bytes(size_on_disk)), remove);
  }
}
