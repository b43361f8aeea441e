import { readdirSync } from "node:fs";
import { join } from "node:path";
import { GOLDENS } from "./models.mjs";

const SEQ2SEQ = join(GOLDENS, "seq2seq");
/** The tiny encoder-decoders of tests/goldens, by name. */
export const SEQ2SEQ_NAMES = readdirSync(SEQ2SEQ);

/** The class that loads a model. */
export const classOf = (name) => (name.startsWith("whisper") ? "AutoModelForSpeechSeq2Seq" : "AutoModelForSeq2SeqLM");

/** The tiny encoder-decoders as repos `seq2seq/NAME`. */
export const seq2seqRepos = () =>
  Object.fromEntries(SEQ2SEQ_NAMES.map((name) => [`seq2seq/${name}`, { path: join(SEQ2SEQ, name) }]));
