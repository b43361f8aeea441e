import { labels_of } from "../labels.js";
import { check_keys } from "../options.js";
import type { TokenClassifierOutput } from "../outputs.js";
import { refuse_option } from "../refuse.js";
import { list_of, Pipeline } from "./pipeline.js";
import { softmax, top_k } from "./scores.js";

/** Where a word is in the text, if it is there as it is written. */
interface Place {
  start?: number;
  end?: number;
}

/** A token and its class. */
export interface TokenClassificationSingle extends Place {
  entity: string;
  score: number;
  /** The token's place among the text's. */
  index: number;
  word: string;
}

/** Tokens that together are one entity. */
export interface TokenClassificationGroup extends Place {
  entity_group: string;
  /** The mean of its tokens'. */
  score: number;
  word: string;
}

type Strategy = "none" | "simple";

export interface TokenClassificationOptions<S extends Strategy = Strategy> {
  /** Classes that are left out. Default ["O"]. */
  ignore_labels?: readonly string[];
  /** "simple": tokens of one entity become one, by the `B-` and `I-` before their classes. Default "none". */
  aggregation_strategy?: S;
}

type Found<S> = S extends "simple" ? TokenClassificationGroup : TokenClassificationSingle;

// The call signatures of the pipeline; see Callable.
export interface TokenClassificationPipeline {
  <S extends Strategy = "none">(text: string, options?: TokenClassificationOptions<S>): Promise<Found<S>[]>;
  <S extends Strategy = "none">(texts: string[], options?: TokenClassificationOptions<S>): Promise<Found<S>[][]>;
}

/** The classes of a text's tokens. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class TokenClassificationPipeline extends Pipeline<TokenClassifierOutput> {
  /** @internal */
  override async _call(texts: string | string[], options: TokenClassificationOptions = {}): Promise<unknown> {
    check_keys(options, ["ignore_labels", "aggregation_strategy"], {}, {});
    const { ignore_labels = ["O"], aggregation_strategy = "none" } = options;
    if (!["none", "simple"].includes(aggregation_strategy)) {
      refuse_option("aggregation_strategy", aggregation_strategy, 'Give "none" or "simple".');
    }
    const given = list_of(texts, this.task);
    const inputs = this.encode(given);
    const { logits } = await this.model(inputs);
    const labels = labels_of(this.model.config);
    const special = new Set(this.tokenizer.all_special_ids);
    const found = given.map((text, row) => {
      const ids = Array.from(inputs.input_ids.at(row).data, Number);
      let read = 0;
      const tokens: TokenClassificationSingle[] = [];
      for (const [index, id] of ids.entries()) {
        if (special.has(id)) continue;
        const word = this.tokenizer.decode([id], { skip_special_tokens: true });
        // A word's later pieces are written with a mark that the text hasn't.
        const written = word.replace(/^##/, "").trim();
        const start = written === "" ? -1 : text.indexOf(written, read);
        if (start !== -1) read = start + written.length;
        const [best] = top_k(softmax(logits.at(row).at(index).data), 1);
        const entity = labels[best?.index ?? 0] ?? `LABEL_${best?.index}`;
        if (word === "" || ignore_labels.includes(entity)) continue;
        const place = start === -1 ? {} : { start, end: read };
        tokens.push({ entity, score: best?.score ?? 0, index, word, ...place });
      }
      return aggregation_strategy === "simple" ? this.#grouped(tokens, ids) : tokens;
    });
    return typeof texts === "string" ? found[0] : found;
  }

  #grouped(tokens: readonly TokenClassificationSingle[], ids: readonly number[]): TokenClassificationGroup[] {
    return groups_of(tokens).map(({ entity_group, members }) => {
      const [first, last] = [members[0], members.at(-1)];
      const place = first?.start !== undefined && last?.end !== undefined ? { start: first.start, end: last.end } : {};
      return {
        entity_group,
        score: members.reduce((sum, { score }) => sum + score, 0) / members.length,
        word: this.tokenizer.decode(
          members.map(({ index }) => ids[index] ?? 0),
          { skip_special_tokens: true },
        ),
        ...place,
      };
    });
  }
}

interface Group<T> {
  entity_group: string;
  members: T[];
}

/** Tokens by entity. `B-` and `S-` begin one, `I-` and `E-` go on with it if it is of their class, `E-` and `S-` end it. */
export function groups_of<T extends { entity: string }>(tokens: readonly T[]): Group<T>[] {
  const groups: Group<T>[] = [];
  let open: Group<T> | undefined;
  for (const token of tokens) {
    const [, prefix = "I", tag = token.entity] = /^([BIES])-(.*)$/s.exec(token.entity) ?? [];
    const goes_on = open?.entity_group === tag && (prefix === "I" || prefix === "E");
    if (goes_on) open?.members.push(token);
    else {
      open = { entity_group: tag, members: [token] };
      groups.push(open);
    }
    if (prefix === "S" || (prefix === "E" && goes_on)) open = undefined;
  }
  return groups;
}
