import type { TextTokenizer } from "./engine.js";

/** The names of the special tokens, in transformers' order. */
const NAMES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] as const;

type Name = (typeof NAMES)[number];

/** Special tokens and their ids; undefined where the tokenizer has none of the name. */
export type SpecialTokens = Record<Name, string | undefined> & Record<`${Name}_id`, number | undefined>;

/** What transformers' classes take for granted where a repo's files don't say it. */
const BERT: Partial<Record<Name, string>> = {
  unk_token: "[UNK]",
  sep_token: "[SEP]",
  pad_token: "[PAD]",
  cls_token: "[CLS]",
  mask_token: "[MASK]",
};
const ROBERTA: Partial<Record<Name, string>> = {
  bos_token: "<s>",
  eos_token: "</s>",
  unk_token: "<unk>",
  sep_token: "</s>",
  pad_token: "<pad>",
  cls_token: "<s>",
  mask_token: "<mask>",
};
const GPT2: Partial<Record<Name, string>> = {
  bos_token: "<|endoftext|>",
  eos_token: "<|endoftext|>",
  unk_token: "<|endoftext|>",
};

type Tokens = Pick<TextTokenizer, "special_tokens" | "all_special_ids" | "token_to_id">;

/** A tokenizer's special tokens: what its files say, else what its kind has, as far as its vocabulary does. */
export function special_tokens_of(tokenizer: Tokens): SpecialTokens {
  const given = tokenizer.special_tokens();
  const special = new Set(tokenizer.all_special_ids());
  const is_special = (token: string | undefined) => special.has(tokenizer.token_to_id(token ?? "") ?? -1);
  const framed = [BERT, ROBERTA].find((kind) => is_special(kind.cls_token) && is_special(kind.mask_token));
  // Others than GPT-2 have its token too, and say what it is for them.
  const usual = framed ?? (Object.keys(given).length === 0 ? GPT2 : {});
  const tokens: Record<string, string | number | undefined> = {};
  for (const name of NAMES) {
    const [token, id] = [given[name], given[`${name}_id`]];
    if (token !== undefined) Object.assign(tokens, { [name]: token, [`${name}_id`]: id });
    else if (is_special(usual[name])) {
      Object.assign(tokens, { [name]: usual[name], [`${name}_id`]: tokenizer.token_to_id(usual[name] ?? "") });
    }
  }
  return tokens as SpecialTokens;
}
