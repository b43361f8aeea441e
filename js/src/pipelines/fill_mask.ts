import { LayerlineError } from "../errors.js";
import { check_keys } from "../options.js";
import type { MaskedLMOutput } from "../outputs.js";
import { list_of, Pipeline } from "./pipeline.js";
import { softmax, top_k } from "./scores.js";

/** A token that could be in the mask's place. */
export interface FillMaskSingle {
  score: number;
  token: number;
  token_str: string;
  /** The text with it. */
  sequence: string;
}

export interface FillMaskOptions {
  /** How many tokens. Default 5. */
  top_k?: number;
}

// The call signatures of the pipeline; see Callable.
export interface FillMaskPipeline {
  (text: string, options?: FillMaskOptions): Promise<FillMaskSingle[]>;
  (texts: string[], options?: FillMaskOptions): Promise<FillMaskSingle[][]>;
}

/** The likeliest tokens in the place of each text's first mask. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class FillMaskPipeline extends Pipeline<MaskedLMOutput> {
  /** @internal */
  override async _call(
    texts: string | string[],
    options: FillMaskOptions = {},
  ): Promise<FillMaskSingle[] | FillMaskSingle[][]> {
    check_keys(options, ["top_k"], {}, {});
    const { mask_token, mask_token_id } = this.tokenizer;
    const given = list_of(texts, this.task);
    const inputs = this.encode(given);
    const rows = Array.from(inputs.input_ids, (row) => Array.from((row as typeof inputs.input_ids).data, Number));
    const masks = rows.map((ids, i) => {
      const at = ids.indexOf(mask_token_id ?? -1);
      if (at !== -1) return at;
      const asked = mask_token === undefined ? "The tokenizer has no mask token" : `There is no ${mask_token} in`;
      throw new LayerlineError("TOKENIZER", `${asked}: ${JSON.stringify(given[i])}.`);
    });
    const { logits } = await this.model(inputs);
    const filled = rows.map((ids, i) => {
      const mask = masks[i] ?? 0;
      const best = top_k(softmax(logits.at(i).at(mask).data), options.top_k ?? 5);
      return best.map(({ index, score }) => ({
        score,
        token: index,
        token_str: this.tokenizer.decode([index]),
        sequence: this.tokenizer.decode(ids.with(mask, index), { skip_special_tokens: true }),
      }));
    });
    return typeof texts === "string" ? (filled[0] ?? []) : filled;
  }
}
