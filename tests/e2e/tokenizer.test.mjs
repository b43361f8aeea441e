// The tokenizer, chat template and text streamer as a Node program sees them, against what Python's libraries answer.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { AutoConfig, AutoTokenizer, LayerlineError, Tensor, TextStreamer } from "layerline";
import { golden, SAMPLE, sampleFile, startTestHub } from "./support/models.mjs";

const { special_tokens, length, texts, pairs, chats } = golden("text.json");

let hub;
let tokenizer;
before(async () => {
  hub = await startTestHub();
  tokenizer = await AutoTokenizer.from_pretrained(SAMPLE, { endpoint: hub.endpoint });
});
after(() => hub.close());

test("AutoConfig gives config.json", async () => {
  const config = await AutoConfig.from_pretrained(SAMPLE, { endpoint: hub.endpoint });
  assert.deepEqual(config, JSON.parse(sampleFile("config.json")));
});

test("encodes and decodes as the reference does", () => {
  for (const { text, ids, ids_without_special, decoded, decoded_skip_special } of texts) {
    assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
    assert.deepEqual(tokenizer.encode(text, { add_special_tokens: false }), ids_without_special);
    assert.equal(tokenizer.decode(ids), decoded);
    assert.equal(tokenizer.decode(ids, { skip_special_tokens: true }), decoded_skip_special);
  }
  for (const { text, text_pair, ids } of pairs) assert.deepEqual(tokenizer.encode(text, { text_pair }), ids);
});

test("knows the special tokens and the vocabulary's size", () => {
  for (const [name, value] of Object.entries(special_tokens)) assert.equal(tokenizer[name], value);
  assert.equal(tokenizer.vocab_size, length);
  assert.equal(tokenizer.id_to_token(tokenizer.eos_token_id), tokenizer.eos_token);
});

test("called, it gives tensors, or arrays, and pads a batch", () => {
  const [{ text, ids }] = texts.filter(({ ids }) => ids.length > 3);
  const one = tokenizer(text);
  assert.ok(one.input_ids instanceof Tensor);
  assert.deepEqual([one.input_ids.type, one.input_ids.dims], ["int64", [1, ids.length]]);
  assert.deepEqual(one.input_ids.tolist(), [ids.map(BigInt)]);
  assert.deepEqual(tokenizer(text, { return_tensor: false }), { input_ids: ids, attention_mask: ids.map(() => 1) });
  const short = tokenizer.encode("a");
  const { input_ids, attention_mask } = tokenizer(["a", text], { padding: true, return_tensor: false });
  const missing = ids.length - short.length;
  assert.deepEqual(input_ids, [[...short, ...Array(missing).fill(tokenizer.pad_token_id)], ids]);
  assert.deepEqual(attention_mask[0], [...short.map(() => 1), ...Array(missing).fill(0)]);
  assert.deepEqual(tokenizer.batch_decode(tokenizer(["a", "a"]).input_ids), ["a", "a"]);
  assert.throws(() => tokenizer(["a", text]), { code: "TOKENIZER" });
});

describe("chats", () => {
  for (const [i, { name, messages, text, ids, ...options }] of chats.entries()) {
    test(`chat ${i}: ${name}`, () => {
      assert.equal(tokenizer.apply_chat_template(messages, { ...options, tokenize: false }), text);
      const encoded = tokenizer.apply_chat_template(messages, options);
      assert.deepEqual(Array.from(encoded.input_ids.data, Number), ids);
      assert.deepEqual(encoded.attention_mask.dims, [1, ids.length]);
    });
  }

  test("a template that fails is a typed error", () => {
    const messages = [{ role: "user", content: "x" }];
    const broken = () => tokenizer.apply_chat_template(messages, { chat_template: "{{ messages[" });
    assert.throws(broken, (error) => error instanceof LayerlineError && error.code === "CHAT_TEMPLATE");
  });
});

test("a repo that has only its vocabulary has a tokenizer all the same", async () => {
  for (const { name, files, config, cases } of golden("vocab_files.json")) {
    const texts = { ...files, "tokenizer_config.json": JSON.stringify(config) };
    const source = Object.entries(texts).map(([path, text]) => [path, new Blob([text])]);
    const tokenizer = await AutoTokenizer.from_pretrained(new Map(source));
    for (const { text, pair, add_special_tokens, ids } of cases) {
      assert.deepEqual(tokenizer.encode(text, { text_pair: pair, add_special_tokens }), ids, `${name}: ${text}`);
    }
    if (name !== "GPT-2") assert.equal(tokenizer.tokenize(tokenizer.mask_token).length, 1, name);
  }
  const none = new Map([["vocab.json", new Blob(["{}"])]]);
  await assert.rejects(AutoTokenizer.from_pretrained(none), { code: "ENTRY_NOT_FOUND", message: /tokenizer\.json/ });
});

test("a streamer's pieces join to the decoded text, whole words at a time", () => {
  for (const { ids_without_special: ids } of texts) {
    const pieces = [];
    let ended = 0;
    class Recorder extends TextStreamer {
      on_finalized_text(text, stream_end) {
        super.on_finalized_text(text, stream_end);
        ended += Number(stream_end);
      }
    }
    const streamer = new Recorder(tokenizer, { skip_prompt: true, callback_function: (text) => pieces.push(text) });
    streamer.put([[1n, 2n, 3n]]);
    for (const id of ids) streamer.put([[BigInt(id)]]);
    streamer.end();
    assert.equal(pieces.join(""), tokenizer.decode(ids, { skip_special_tokens: true }));
    assert.equal(ended, 1);
    // Bytes of a character that isn't finished never get out.
    assert.ok(pieces.slice(0, -1).every((piece) => !piece.includes("\ufffd")) || pieces.join("").includes("\ufffd"));
  }
});

test("a streamer with the prompt, and used twice", () => {
  const pieces = [];
  const streamer = new TextStreamer(tokenizer, { callback_function: (text) => pieces.push(text) });
  const prompt = tokenizer.encode("Hello there").map(BigInt);
  for (let turn = 0; turn < 2; turn++) {
    streamer.put([prompt]);
    streamer.put([[BigInt(tokenizer.eos_token_id)]]);
    streamer.end();
  }
  assert.deepEqual(pieces, ["Hello there", "Hello there"]);
});
