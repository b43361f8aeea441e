import { AutoModelForCausalLM, AutoTokenizer } from "layerline";

self.onmessage = async ({ data: [id, endpoint, input_ids, tokenizer_id] }) => {
  try {
    const model = await AutoModelForCausalLM.from_pretrained(id, { endpoint });
    const output = await model.generate({ input_ids, max_new_tokens: 4 });
    await model.dispose();
    // The other wasm, in the same worker.
    await AutoTokenizer.from_pretrained(tokenizer_id, { endpoint });
    self.postMessage({ output: Array.from(output.data, Number) });
  } catch (error) {
    self.postMessage({ error: `${error.code}: ${error.message}` });
  }
};
