// pipeline() for each task, on tiny encoders whose tokenizer makes just the ids of a golden: the answers are torch's.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { assertClose } from "./support/close.mjs";
import { reposWith, wordsOf, wordTokenizer } from "./support/encoders.mjs";
import { openEnvironment } from "./support/environments.mjs";
import { GOLDENS, golden, SAMPLE, startTestHub } from "./support/models.mjs";

const inputOf = (encoder, name) =>
  golden(`encoders/${encoder}/golden.json`).inputs.find((input) => input.name === name);
const bert = (task) => ({ short: inputOf(`bert-${task}`, "short"), pair: inputOf(`bert-${task}`, "pair") });
const VOCAB = 131;
/** The golden's pair as two texts. */
const halves = ({ input_ids, token_type_ids }) =>
  [0, 1].map((type) => wordsOf(input_ids.filter((_, i) => token_type_ids[i] === type)));

const typed = { config: { model_input_names: ["input_ids", "token_type_ids", "attention_mask"] } };
const [MASK_AT, SEP_AT] = [1, 4];
const mask_token = `w${bert("masked-lm").short.input_ids[MASK_AT]}`;
const sep_token = `w${bert("question-answering").pair.input_ids[SEP_AT]}`;
const module = (name, path) => ({ name, path, type: `sentence_transformers.models.${name}` });
const modules = [module("Transformer", ""), module("Pooling", "1_Pooling"), module("Normalize", "2_Normalize")];
const REPOS = {
  "pipes/sequence": { encoder: "bert-sequence-classification", files: wordTokenizer(VOCAB, typed) },
  "pipes/token": { encoder: "bert-token-classification", files: wordTokenizer(VOCAB, typed) },
  "pipes/mask": { encoder: "bert-masked-lm", files: wordTokenizer(VOCAB, { ...typed, special: { mask_token } }) },
  "pipes/answer": {
    encoder: "bert-question-answering",
    files: wordTokenizer(VOCAB, { ...typed, special: { sep_token } }),
  },
  "pipes/base": {
    encoder: "bert-base",
    files: {
      ...wordTokenizer(VOCAB, typed),
      "modules.json": modules,
      "1_Pooling/config.json": { pooling_mode_cls_token: true, pooling_mode_mean_tokens: true },
      "sentence_bert_config.json": { max_seq_length: 64, do_lower_case: false },
    },
  },
  "pipes/seq2seq": {
    checkpoint: join(GOLDENS, "seq2seq", "marian"),
    files: wordTokenizer(VOCAB, { special: { pad_token: `w${golden("seq2seq/marian/config.json").pad_token_id}` } }),
  },
  "pipes/router": {
    encoder: "bert-base",
    files: { ...wordTokenizer(VOCAB, typed), "modules.json": [...modules, module("Router", "3_Router")] },
  },
  "pipes/sentences": { checkpoint: join(GOLDENS, "sentences", "gemma3"), files: {} },
  "pipes/narrow": {
    checkpoint: join(GOLDENS, "sentences", "gemma3"),
    files: { "2_Dense/config.json": { in_features: 72, out_features: 43, bias: false } },
  },
};

const softmax = (logits) => {
  const exponents = logits.map(Math.exp);
  const sum = exponents.reduce((a, b) => a + b);
  return exponents.map((value) => value / sum);
};
const best = (values) => values.indexOf(Math.max(...values));
const near = (got, expected) => assert.ok(Math.abs(got - expected) < 0.01, `${got} instead of ${expected}`);
const labelsOf = (repo) => Object.values(golden(`encoders/${REPOS[repo].encoder}/config.json`).id2label);

let hub;
let environment;
let remove;
before(async () => {
  const made = await reposWith(REPOS);
  remove = made.remove;
  hub = await startTestHub(made.repos);
  environment = await openEnvironment("chromium", { webgpu: false });
});
after(async () => {
  await environment.close();
  await hub.close();
  await remove();
});

/** Opens a pipeline, and gives what each of its calls does. */
const answers = (task, id, ...calls) =>
  environment.run(
    async ({ pipeline, Tensor }, { task, id, endpoint, calls }) => {
      const pipe = await pipeline(task, id, { endpoint });
      const found = [];
      for (const call of calls) {
        const answer = await pipe(...call);
        found.push(answer instanceof Tensor ? answer.tolist() : answer);
      }
      await pipe.dispose();
      return found;
    },
    { task, id, endpoint: hub.endpoint, calls },
  );

test("text-classification, by either name", async () => {
  const { input_ids, outputs } = bert("sequence-classification").short;
  const text = wordsOf(input_ids);
  const expected = softmax(outputs.logits);
  const [one, all] = await answers("sentiment-analysis", "pipes/sequence", [text], [[text, text], { top_k: null }]);
  assert.equal(one[0].label, labelsOf("pipes/sequence")[best(expected)]);
  near(one[0].score, Math.max(...expected));
  assert.deepEqual(all[0], all[1]);
  assert.deepEqual(all[0].map(({ label }) => label).sort(), labelsOf("pipes/sequence").sort());
});

test("zero-shot-classification", async () => {
  const { pair } = bert("sequence-classification");
  const [premise, hypothesis] = halves(pair);
  const call = [premise, hypothesis, { hypothesis_template: "{}" }];
  const [found] = await answers("zero-shot-classification", "pipes/sequence", call);
  assert.deepEqual([found.sequence, found.labels], [premise, [hypothesis]]);
  // The model's classes have other names: transformers.js takes 0 for contradiction and 2 for entailment.
  const [contradiction, , entailment] = pair.outputs.logits;
  near(found.scores[0], softmax([contradiction, entailment])[1]);
});

test("token-classification", async () => {
  const { input_ids, outputs } = bert("token-classification").short;
  const [found] = await answers("ner", "pipes/token", [wordsOf(input_ids), { ignore_labels: [] }]);
  assert.equal(found.length, input_ids.length);
  for (const [index, logits] of outputs.logits.entries()) {
    const { entity, score, word, ...at } = found[index];
    assert.deepEqual([entity, word, at.index], [labelsOf("pipes/token")[best(logits)], `w${input_ids[index]}`, index]);
    near(score, Math.max(...softmax(logits)));
  }
});

test("fill-mask", async () => {
  const { input_ids, outputs } = bert("masked-lm").short;
  const [found] = await answers("fill-mask", "pipes/mask", [wordsOf(input_ids), { top_k: 1 }]);
  const expected = softmax(outputs.logits[MASK_AT]);
  assert.equal(found[0].token, best(expected));
  near(found[0].score, Math.max(...expected));
  assert.equal(found[0].sequence, wordsOf(input_ids.with(MASK_AT, found[0].token)));
});

test("question-answering", async () => {
  const { pair } = bert("question-answering");
  const { input_ids, outputs } = pair;
  const [[found]] = await answers("question-answering", "pipes/answer", [...halves(pair).map((text) => [text])]);
  // Only the context can hold an answer, and the first token says that there is none.
  const scores = (logits) => {
    const [none, ...context] = softmax([logits[0], ...logits.slice(SEP_AT + 1)]);
    assert.ok(none > 0);
    return context;
  };
  const [starts, ends] = [outputs.start_logits, outputs.end_logits].map(scores);
  const spans = starts.flatMap((start, i) => ends.slice(i).map((end, j) => [start * end, i, i + j]));
  const [score, first, last] = spans.sort((a, b) => b[0] - a[0])[0];
  near(found.score, score);
  assert.equal(found.answer, wordsOf(input_ids.slice(SEP_AT + 1 + first, SEP_AT + 2 + last)));
});

test("feature-extraction and SentenceTransformer", async () => {
  const { input_ids, outputs } = bert("base").short;
  const states = outputs.last_hidden_state;
  const mean = states[0].map((_, i) => states.reduce((sum, row) => sum + row[i], 0) / states.length);
  const text = wordsOf(input_ids);
  const texts = [text, wordsOf(input_ids.slice(0, 2))];
  const [rows, [pooled]] = await answers("feature-extraction", "pipes/base", [texts], [texts, { pooling: "mean" }]);
  assert.deepEqual([rows.length, rows[0].length, rows[0][0].length], [2, states.length, states[0].length]);
  for (const [i, value] of mean.entries()) near(pooled[i], value);

  const encode = async ({ SentenceTransformer }, { id, endpoint, texts }) => {
    const model = await SentenceTransformer.from_pretrained(id, { endpoint });
    const [all, one] = [await model.encode(texts, { batch_size: 1 }), await model.encode(texts[0])];
    const { max_seq_length } = model;
    await model.dispose();
    return { dims: all.dims, all: all.tolist(), one: one.tolist(), max_seq_length };
  };
  const found = await environment.run(encode, { id: "pipes/base", endpoint: hub.endpoint, texts });
  const joined = [...states[0], ...mean];
  const norm = Math.hypot(...joined);
  assert.deepEqual([found.dims, found.max_seq_length], [[2, joined.length], 64]);
  for (const [i, value] of joined.entries()) near(found.all[0][i], value / norm);
  assert.deepEqual(found.all[0], found.one[0]);
  const router = environment.run(encode, { id: "pipes/router", endpoint: hub.endpoint, texts });
  await assert.rejects(router, { code: "UNSUPPORTED_CONFIG", message: /models\.Router/ });
});

test("SentenceTransformer, as EmbeddingGemma is: tokens that see each other, Dense modules, prompts, vectors that are cut", async (t) => {
  const { texts, truncate_dim, f16_error, ...expected } = golden("sentences/gemma3/golden.json");
  const encode = async ({ SentenceTransformer }, { id, endpoint, texts, truncate_dim }) => {
    const model = await SentenceTransformer.from_pretrained(id, { endpoint });
    const found = {
      encode: await model.encode(texts),
      encode_query: await model.encode_query(texts),
      encode_document: await model.encode_document(texts),
      truncated: await model.encode(texts, { truncate_dim, normalize_embeddings: true }),
    };
    await model.dispose();
    return Object.fromEntries(Object.entries(found).map(([name, vectors]) => [name, vectors.tolist()]));
  };
  const args = { endpoint: hub.endpoint, texts, truncate_dim };
  const found = await environment.run(encode, { ...args, id: "pipes/sentences" });
  for (const [name, vectors] of Object.entries(found)) {
    assert.deepEqual([vectors.length, vectors[0].length], [texts.length, expected[name][0].length]);
    t.diagnostic(`${name}: ${assertClose(vectors.flat(), expected[name].flat(), f16_error.max_abs)}`);
  }
  const narrow = environment.run(encode, { ...args, id: "pipes/narrow" });
  await assert.rejects(narrow, {
    code: "MISMATCHED_WEIGHT",
    message: /2_Dense: linear.weight is \[44, 72\].*\[43, 72\]/,
  });
});

test("text-generation", async () => {
  const { prompts } = golden("smollm2.json");
  const [first, second] = prompts.filter(({ text }) => text);
  const chat = prompts.find(({ messages }) => messages);
  const options = { max_new_tokens: 6, do_sample: false };
  const [alone, both, [answered]] = await answers(
    "text-generation",
    SAMPLE,
    [first.text, { ...options, return_full_text: false }],
    [[first.text, second.text], options],
    [chat.messages, options],
  );
  const goesOn = (text, { completion }) =>
    assert.ok(text !== "" && completion.startsWith(text), `${text}: ${completion}`);
  goesOn(alone[0].generated_text, first);
  for (const [i, prompt] of [first, second].entries()) {
    const [{ generated_text }] = both[i];
    assert.ok(generated_text.startsWith(prompt.text));
    goesOn(generated_text.slice(prompt.text.length), prompt);
  }
  const answer = answered.generated_text.at(-1);
  assert.deepEqual(answered.generated_text.slice(0, -1), chat.messages);
  assert.equal(answer.role, "assistant");
  goesOn(answer.content, chat);
});

test("translation, summarization and text2text-generation", async () => {
  const { inputs } = golden("seq2seq/marian/golden.json");
  const [first, second] = inputs.map(({ input_ids }) => wordsOf(input_ids));
  const options = { max_new_tokens: inputs[0].greedy.length };
  for (const [task, key] of [
    ["translation", "translation_text"],
    ["summarization", "summary_text"],
    ["text2text-generation", "generated_text"],
  ]) {
    const [one, both] = await answers(task, "pipes/seq2seq", [first, options], [[first, second], options]);
    const expected = inputs.slice(0, 2).map(({ greedy }) => ({ [key]: wordsOf(greedy) }));
    assert.deepEqual(one, expected.slice(0, 1));
    assert.deepEqual(both, expected);
  }
});

test("a task or a model that isn't there is a typed error", async () => {
  await assert.rejects(answers("conversational", "pipes/base"), { code: "UNSUPPORTED_TASK" });
  await assert.rejects(answers("fill-mask", undefined), { code: "INVALID_REPO_ID" });
  await assert.rejects(answers("fill-mask", "pipes/none"), { code: "REPO_NOT_FOUND" });
});
