import type { ModelSource } from "layerline";
import { element } from "./dom.ts";

/** Calls `open` with each folder that is picked by the button or dropped on the page. */
export function on_folder(open: (source: ModelSource, name: string) => void): void {
  const picker = element("folder", HTMLInputElement);
  element("open-folder", HTMLButtonElement).addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    const files = Array.from(picker.files ?? []);
    const name = files[0]?.webkitRelativePath.split("/")[0] || "the folder";
    // So that the same folder can be picked again.
    picker.value = "";
    if (files.length > 0) open(files, name);
  });

  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    // The items are gone once the handler has returned: ask for all of them now.
    const handles = Array.from(event.dataTransfer?.items ?? [], (item) => handle_of(item));
    const files = Array.from(event.dataTransfer?.files ?? []);
    void Promise.all(handles).then((found) => {
      const folder = found.find((handle) => handle?.kind === "directory");
      if (folder) open(folder as FileSystemDirectoryHandle, folder.name);
      else if (files.length > 0) open(files, "the files dropped");
    });
  });
}

/** Chromium gives handles; elsewhere files are dropped without their folder. */
function handle_of(item: DataTransferItem): Promise<FileSystemHandle | null> | undefined {
  const asked = item as DataTransferItem & { getAsFileSystemHandle?: () => Promise<FileSystemHandle | null> };
  return asked.getAsFileSystemHandle?.();
}
