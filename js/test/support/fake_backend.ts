import type { Backend, ForwardOptions, GenerateOptions } from "../../src/backend.js";
import type { EngineOutput, Task } from "../../src/engine.js";
import { PreTrainedModel } from "../../src/model.js";

export interface Call {
  ids: number[];
  options: ForwardOptions | GenerateOptions;
}

/** What an engine would answer for one text. */
export interface Answers {
  forward?: (ids: Uint32Array, options: ForwardOptions) => EngineOutput;
  /** The ids that follow a prompt. */
  generate?: (ids: Uint32Array, options: GenerateOptions) => number[];
  /** The ids of the best texts that follow it. */
  beam_search?: (ids: Uint32Array, options: GenerateOptions) => number[][];
}

/** What a model says of itself. */
export interface FakeFacts {
  config?: object;
  generation_config?: object;
  input_names?: string[];
  max_positions?: number | undefined;
}

/** A model whose engine is what a test says. */
export function fake_model<Output>(
  task: Task,
  { forward, generate, beam_search }: Answers,
  {
    config = {},
    generation_config = {},
    input_names = ["input_ids", "attention_mask"],
    max_positions = undefined,
  }: FakeFacts = {},
): { model: PreTrainedModel<Output>; calls: Call[] } {
  const calls: Call[] = [];
  const backend: Partial<Backend> = {
    facts: {
      class_name: "FakeModel",
      input_names,
      max_positions,
      loading_info: { missing_keys: [], unexpected_keys: [], mismatched_keys: [], error_msgs: [] },
      config: JSON.stringify(config),
      generation_config: JSON.stringify(generation_config),
      hf_device_map: {},
      without_gpu: undefined,
    },
    async forward(ids, options) {
      calls.push({ ids: [...ids], options });
      return forward?.(ids, options) ?? {};
    },
    async generate(ids, options, on_token) {
      calls.push({ ids: [...ids], options });
      const text = [...ids];
      for (const id of generate?.(ids, options) ?? []) {
        text.push(id);
        if (!on_token(id)) break;
      }
      return Uint32Array.from(text);
    },
    async beam_search(ids, options) {
      calls.push({ ids: [...ids], options });
      return (beam_search?.(ids, options) ?? []).map((new_ids) => Uint32Array.from(new_ids));
    },
    async dispose() {},
  };
  return { model: new PreTrainedModel<Output>(backend as Backend, task), calls };
}

/** A row-major array of the engine's. */
export function array(dims: number[], values: Iterable<number>) {
  return { dims, data: Float32Array.from(values) };
}
