import { readdirSync } from "node:fs";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { GOLDENS } from "./models.mjs";

const ENCODERS = join(GOLDENS, "encoders");
/** The tiny encoders of tests/goldens, by name. */
export const ENCODER_NAMES = readdirSync(ENCODERS);

/** The class that loads a model for a golden's task. */
export const CLASSES = {
  base: "AutoModel",
  "masked-lm": "AutoModelForMaskedLM",
  "sequence-classification": "AutoModelForSequenceClassification",
  "token-classification": "AutoModelForTokenClassification",
  "question-answering": "AutoModelForQuestionAnswering",
};

/** The tiny encoders as repos `encoders/NAME`. */
export const encoderRepos = () =>
  Object.fromEntries(ENCODER_NAMES.map((name) => [`encoders/${name}`, { path: join(ENCODERS, name) }]));

/** Ids as a text that {@link wordTokenizer} makes those ids of. */
export const wordsOf = (ids) => ids.map((id) => `w${id}`).join(" ");

/** A tokenizer whose word `w7` has the id 7: texts give just the ids of a golden. A second text is of type 1. */
export function wordTokenizer(vocab_size, { special = {}, config = {} } = {}) {
  const words = Array.from({ length: vocab_size }, (_, id) => `w${id}`);
  // Else `w8` would be found in `w87`.
  const flags = { special: true, single_word: true, lstrip: false, rstrip: false, normalized: false };
  const added_tokens = Object.values(special).map((content) => ({ id: words.indexOf(content), content, ...flags }));
  const sequence = (id, type_id) => ({ Sequence: { id, type_id } });
  return {
    "tokenizer.json": {
      version: "1.0",
      added_tokens,
      pre_tokenizer: { type: "WhitespaceSplit" },
      post_processor: {
        type: "TemplateProcessing",
        single: [sequence("A", 0)],
        pair: [sequence("A", 0), sequence("B", 1)],
        special_tokens: {},
      },
      model: { type: "WordLevel", vocab: Object.fromEntries(words.map((word, id) => [word, id])), unk_token: "w0" },
    },
    "tokenizer_config.json": { pad_token: "w0", ...special, ...config },
  };
}

/**
 * Copies of tiny encoders with files beside them, as repos: `{ repo: { encoder, files: { path: content } } }`, or in place of
 * `encoder` a `seq2seq`; `checkpoint` is another folder.
 */
export async function reposWith(wanted) {
  const folder = await mkdtemp(join(tmpdir(), "layerline-encoders-"));
  const repos = {};
  for (const [id, { encoder, seq2seq, checkpoint, files }] of Object.entries(wanted)) {
    const path = join(folder, id);
    const from = checkpoint ?? (seq2seq ? join(GOLDENS, "seq2seq", seq2seq) : join(ENCODERS, encoder));
    await cp(from, path, { recursive: true });
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(path, name)), { recursive: true });
      await writeFile(join(path, name), JSON.stringify(content));
    }
    repos[id] = { path };
  }
  return { repos, remove: () => rm(folder, { recursive: true, force: true }) };
}
