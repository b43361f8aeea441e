import type { GenerationConfig, PretrainedConfig } from "./config.js";
import type { Batch } from "./inputs.js";

/** The id that marks padding; undefined where the model has none. */
export function pad_token_id(config: PretrainedConfig | GenerationConfig): number | undefined {
  const id = config.pad_token_id;
  return typeof id === "number" && id >= 0 ? id : undefined;
}

/** transformers' warning about ids that may be padding, where there is no mask; undefined if there is no reason for it. */
export function padding_warning(config: PretrainedConfig, { sequences }: Batch): string | undefined {
  const pad = pad_token_id(config);
  if (pad === undefined || !sequences.some(({ given }) => given[0] === pad || given.at(-1) === pad)) return undefined;
  const ids = (["bos_token_id", "eos_token_id", "sep_token_id"] as const).filter((name) => config[name] === pad);
  const same = ids.length > 0 ? ` You may ignore this if they aren't: pad_token_id is ${ids.join(", ")} too.` : "";
  return (
    "We strongly recommend passing in an attention_mask, since your input_ids may be padded: some start or end with " +
    `the pad_token_id ${pad}.${same}`
  );
}

/** The batch with `pad` at the start and the end of each text as padding, as `generate` of transformers takes it. */
export function without_padding({ length, sequences }: Batch, pad: number): Batch {
  return {
    length,
    sequences: sequences.map((sequence) => {
      const { given, token_type_ids } = sequence;
      const start = given.findIndex((id) => id !== pad);
      // A text of nothing else is taken as it is.
      if (start === -1) return sequence;
      const end = given.findLastIndex((id) => id !== pad) + 1;
      return {
        given,
        start,
        end,
        ids: given.subarray(start, end),
        ...(token_type_ids && { token_type_ids: token_type_ids.subarray(start, end) }),
      };
    }),
  };
}
