// An app as somebody else would write it: the model on the page's side, and once more in a worker of the app's own.
import { AutoModelForCausalLM } from "layerline";

globalThis.onThePage = async (id, endpoint, input_ids) => {
  const model = await AutoModelForCausalLM.from_pretrained(id, { endpoint });
  const output = await model.generate({ input_ids, max_new_tokens: 4 });
  await model.dispose();
  return Array.from(output.data, Number);
};

globalThis.inAWorker = (...args) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./own-worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => (data.error === undefined ? resolve(data.output) : reject(new Error(data.error)));
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(args);
  });
