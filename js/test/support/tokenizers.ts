import { readFileSync } from "node:fs";
import { PreTrainedTokenizer } from "../../src/tokenizer.js";
import { text } from "../../src/wasm.js";

/** A golden of tests/goldens. */
export function golden(name: string) {
  return JSON.parse(readFileSync(new URL(`../../../tests/goldens/${name}`, import.meta.url), "utf8"));
}

/** A tokenizer of what is in its files. */
export async function tokenizer_of(tokenizer: object, config: object): Promise<PreTrainedTokenizer> {
  const { Tokenizer } = await text();
  const [json, config_json] = [tokenizer, config].map((file) => new TextEncoder().encode(JSON.stringify(file)));
  return new PreTrainedTokenizer(Tokenizer.from_files(json as Uint8Array, config_json));
}

const SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/** BERT's tokenizer over few words, which have the ids from 5 on; "##" begins the later pieces of a word. */
export function word_pieces(words: readonly string[], config: object = {}): Promise<PreTrainedTokenizer> {
  const vocab = Object.fromEntries([...SPECIAL, ...words].map((word, id) => [word, id]));
  const special = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } });
  const sequence = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  const single = [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)];
  const flags = { special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
  const tokenizer = {
    version: "1.0",
    added_tokens: SPECIAL.map((content, id) => ({ id, content, ...flags })),
    normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, lowercase: true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single,
      pair: [...single, sequence("B", 1), special("[SEP]", 1)],
      special_tokens: Object.fromEntries(["[CLS]", "[SEP]"].map((id) => [id, { id, ids: [vocab[id]], tokens: [id] }])),
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab,
    },
  };
  return tokenizer_of(tokenizer, config);
}
