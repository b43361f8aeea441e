import { expectTypeOf, test } from "vitest";
import type {
  AsrText,
  AudioFeatures,
  AutoModel,
  AutoModelForCausalLM,
  AutoModelForMaskedLM,
  AutoModelForQuestionAnswering,
  AutoModelForSeq2SeqLM,
  AutoModelForSequenceClassification,
  AutoModelForSpeechSeq2Seq,
  AutoModelForTokenClassification,
  AutoProcessor,
  AutoTokenizer,
  BaseModelOutput,
  BatchEncoding,
  Chat,
  DynamicCache,
  FillMaskSingle,
  GenerateOutput,
  ImageFeatures,
  LayerInfo,
  LoadingInfo,
  MaskedLMOutput,
  ModelStats,
  PreTrainedModel,
  PreTrainedTokenizer,
  ProgressInfo,
  pipeline,
  QuestionAnsweringModelOutput,
  QuestionAnsweringSingle,
  SentenceTransformer,
  Seq2SeqLMOutput,
  SequenceClassifierOutput,
  Tensor,
  TextClassificationPipeline,
  TextClassificationSingle,
  TextGenerationSingle,
  TokenClassifierOutput,
  WithHiddenStates,
  WithLoss,
} from "../src/index.js";

type Model = typeof AutoModelForCausalLM;

// Nothing of this runs: the compiler checks it.
test("the public types are exact", () => {
  const check = async (
    tokenizers: typeof AutoTokenizer,
    models: Model,
    bare: typeof AutoModel,
    messages: { role: string; content: string }[],
    text: string,
  ) => {
    const tokenizer = await tokenizers.from_pretrained("a/b", { revision: "main", token: "hf_x" });
    expectTypeOf(tokenizer).toEqualTypeOf<PreTrainedTokenizer>();
    expectTypeOf(tokenizer(text)).toEqualTypeOf<BatchEncoding<Tensor<"int64">>>();
    expectTypeOf(tokenizer([text, text])).toEqualTypeOf<BatchEncoding<Tensor<"int64">>>();
    expectTypeOf(tokenizer(text, { return_tensor: false })).toEqualTypeOf<BatchEncoding<number[]>>();
    expectTypeOf(tokenizer([text], { return_tensor: false })).toEqualTypeOf<BatchEncoding<number[][]>>();
    expectTypeOf(tokenizer.apply_chat_template(messages, { tokenize: false })).toEqualTypeOf<string>();
    const inputs = tokenizer.apply_chat_template(messages, { add_generation_prompt: true, return_dict: true });
    expectTypeOf(inputs).toEqualTypeOf<BatchEncoding<Tensor<"int64">>>();
    expectTypeOf(tokenizer.apply_chat_template(messages, { return_dict: false })).toEqualTypeOf<Tensor<"int64">>();

    const model = await models.from_pretrained("a/b", {
      device_map: "auto",
      dtype: "float16",
      device: "webgpu",
      prefetch: false,
      worker: true,
      progress_callback: (event) => expectTypeOf(event).toEqualTypeOf<ProgressInfo>(),
    });
    expectTypeOf(model).toEqualTypeOf<PreTrainedModel>();
    const output = await model.generate({ ...inputs, max_new_tokens: 64 });
    expectTypeOf(output).toEqualTypeOf<Tensor<"int64">>();
    expectTypeOf(tokenizer.batch_decode(output, { skip_special_tokens: true })).toEqualTypeOf<string[]>();
    for (const ids of [output[0], output, [1, 2], [[1n]]]) if (ids) expectTypeOf(tokenizer.decode(ids)).toBeString();
    expectTypeOf((await model(inputs)).logits).toEqualTypeOf<Tensor<"float32">>();
    expectTypeOf((await model.forward({ input_ids: [1] })).logits.data).toEqualTypeOf<Float32Array>();
    expectTypeOf(await model.layers()).toEqualTypeOf<LayerInfo[]>();
    expectTypeOf(await model.stats()).toEqualTypeOf<ModelStats>();
    expectTypeOf(model.get_memory_footprint()).resolves.toEqualTypeOf<number>();
    expectTypeOf(model.get_memory_footprint({ by_device: true })).resolves.toEqualTypeOf<
      Record<string | number, number>
    >();
    expectTypeOf(model.hf_device_map).toEqualTypeOf<Record<string, string | number>>();

    const [loaded, info] = await models.from_pretrained("a/b", {
      output_loading_info: true,
      vocab_size: 9,
      token: false,
    });
    expectTypeOf(loaded).toEqualTypeOf<PreTrainedModel>();
    expectTypeOf(info).toEqualTypeOf<LoadingInfo>();
    const base = await bare.from_pretrained([new File([], "config.json")], { variant: "fp16", use_safetensors: null });
    expectTypeOf(base).toEqualTypeOf<PreTrainedModel<BaseModelOutput>>();
    expectTypeOf((await base(inputs)).last_hidden_state).toEqualTypeOf<Tensor<"float32">>();
    expectTypeOf(await bare.from_config({ model_type: "llama" }, { seed: 1 })).toEqualTypeOf<typeof base>();
    await models.from_pretrained(null, { config: model.config, state_dict: { a: output } });

    // @ts-expect-error: a pickle that could run code is never loaded
    await models.from_pretrained("a/b", { weights_only: false });
    // @ts-expect-error: a model made of a config has no revision
    await bare.from_config({ model_type: "llama" }, { revision: "main" });
    // @ts-expect-error: there are no integers of two bits
    await models.from_pretrained("a/b", { dtype: "q2" });
    // @ts-expect-error: there is no such option
    await models.from_pretrained("a/b", { prefetsh: true });
    // @ts-expect-error: a model needs ids
    await model.forward({});
    // @ts-expect-error: or rows, and not both
    await model.forward({ input_ids: [1], inputs_embeds: await model({ input_ids: [1] }) });
    const rows = (await base(inputs)).last_hidden_state;
    const { past_key_values } = await model({ inputs_embeds: rows, position_ids: [1] });
    expectTypeOf(past_key_values).toEqualTypeOf<DynamicCache | undefined>();
    if (past_key_values) await model({ ...inputs, past_key_values, use_cache: false });
    const dict = await model.generate({ ...inputs, return_dict_in_generate: true });
    expectTypeOf(dict).toEqualTypeOf<GenerateOutput>();
    expectTypeOf(dict.sequences).toEqualTypeOf<typeof output>();
    await model.generate({ inputs_embeds: rows, return_dict_in_generate: false });
  };
  expectTypeOf(check).toBeFunction();
});

test("each class has its own output, with what the inputs ask for", () => {
  const check = async (
    masked: typeof AutoModelForMaskedLM,
    texts: typeof AutoModelForSequenceClassification,
    tokens: typeof AutoModelForTokenClassification,
    answers: typeof AutoModelForQuestionAnswering,
    inputs: BatchEncoding<Tensor<"int64">>,
  ) => {
    const options = { num_labels: 3, id2label: { 0: "a", 1: "b", 2: "c" }, problem_type: "regression" } as const;
    const model = await texts.from_pretrained("a/b", options);
    expectTypeOf(model).toEqualTypeOf<PreTrainedModel<SequenceClassifierOutput>>();
    expectTypeOf(await model(inputs)).toEqualTypeOf<SequenceClassifierOutput>();
    expectTypeOf(await model({ ...inputs, labels: [1] })).toEqualTypeOf<SequenceClassifierOutput & WithLoss>();
    expectTypeOf(await model({ ...inputs, labels: null })).toEqualTypeOf<SequenceClassifierOutput>();
    expectTypeOf(await model.forward({ ...inputs, output_hidden_states: true })).toEqualTypeOf<
      SequenceClassifierOutput & WithHiddenStates
    >();
    expectTypeOf(await model({ ...inputs, output_hidden_states: false })).toEqualTypeOf<SequenceClassifierOutput>();
    expectTypeOf((await model({ ...inputs, output_attentions: true })).attentions).toEqualTypeOf<Tensor<"float32">[]>();

    const masked_output = await (await masked.from_pretrained("a/b"))({
      ...inputs,
      labels: inputs.input_ids,
      output_hidden_states: true,
    });
    expectTypeOf(masked_output).toEqualTypeOf<MaskedLMOutput & WithHiddenStates & WithLoss>();
    expectTypeOf(masked_output.hidden_states).toEqualTypeOf<Tensor<"float32">[]>();
    expectTypeOf((await tokens.from_pretrained("a/b"))(inputs)).resolves.toEqualTypeOf<TokenClassifierOutput>();

    const answerer = await answers.from_pretrained("a/b");
    expectTypeOf(await answerer(inputs)).toEqualTypeOf<QuestionAnsweringModelOutput>();
    const positions = { start_positions: [1], end_positions: [2] };
    expectTypeOf((await answerer({ ...inputs, ...positions })).loss).toEqualTypeOf<Tensor<"float32">>();

    // @ts-expect-error: there is no loss without labels
    (await answerer(inputs)).loss;
    // @ts-expect-error: there is no such input
    await model({ ...inputs, possition_ids: [0] });
    // @ts-expect-error: there is no such option
    await texts.from_pretrained("a/b", { problem_type: "guessing" });
  };
  expectTypeOf(check).toBeFunction();
});

test("an encoder-decoder gives what its decoder writes, and what its encoder has read", () => {
  const check = async (
    writers: typeof AutoModelForSeq2SeqLM,
    listeners: typeof AutoModelForSpeechSeq2Seq,
    inputs: BatchEncoding<Tensor<"int64">>,
    input_features: Tensor<"float32">,
  ) => {
    const model = await writers.from_pretrained("a/b", { decoder_start_token_id: 2 });
    expectTypeOf(model).toEqualTypeOf<PreTrainedModel<Seq2SeqLMOutput>>();
    expectTypeOf(await model({ ...inputs, decoder_input_ids: [[2n]] })).toEqualTypeOf<Seq2SeqLMOutput>();
    expectTypeOf(await model({ ...inputs, labels: inputs.input_ids })).toEqualTypeOf<Seq2SeqLMOutput & WithLoss>();
    expectTypeOf(await model.generate({ ...inputs, forced_bos_token_id: 0, forced_eos_token_id: [2] })).toEqualTypeOf<
      Tensor<"int64">
    >();

    const listener = await listeners.from_pretrained("a/b");
    const { encoder_last_hidden_state } = await listener({ input_features, decoder_input_ids: [1] });
    expectTypeOf(encoder_last_hidden_state).toEqualTypeOf<Tensor<"float32">>();
    const more = await listener({ input_features, decoder_input_ids: [1], output_hidden_states: true });
    expectTypeOf(more.decoder_hidden_states).toEqualTypeOf<Tensor<"float32">[]>();
    const shown = await listener({ input_features, decoder_input_ids: [1], output_attentions: true });
    expectTypeOf(shown.cross_attentions).toEqualTypeOf<Tensor<"float32">[]>();
    await listener.generate({ input_features, max_new_tokens: 3 });

    // @ts-expect-error: spectrograms are tensors
    await listener({ input_features: [1] });
    await model.generate({ ...inputs, num_beams: 4, early_stopping: "never" });
    // @ts-expect-error: neither soon nor late
    await model.generate({ ...inputs, num_beams: 4, early_stopping: "soon" });
  };
  expectTypeOf(check).toBeFunction();
});

test("a pipeline answers as its task, its texts and its options say", () => {
  const check = async (open: typeof pipeline, messages: Chat) => {
    const classify = await open("sentiment-analysis", "a/b", { device: "webgpu", dtype: "fp16" });
    expectTypeOf(classify).toEqualTypeOf<TextClassificationPipeline>();
    expectTypeOf(await classify("x")).toEqualTypeOf<TextClassificationSingle[]>();
    expectTypeOf(await classify(["x"])).toEqualTypeOf<TextClassificationSingle[]>();
    expectTypeOf(await classify(["x"], { top_k: null })).toEqualTypeOf<TextClassificationSingle[][]>();

    const generate = await open("text-generation", "a/b");
    expectTypeOf((await generate("x"))[0]?.generated_text).toEqualTypeOf<string | undefined>();
    expectTypeOf((await generate(messages, { max_new_tokens: 3 }))[0]?.generated_text).toEqualTypeOf<
      Chat | undefined
    >();

    const extract = await open("feature-extraction", "a/b");
    expectTypeOf(await extract("x", { pooling: "mean", normalize: true })).toEqualTypeOf<Tensor<"float32">>();
    expectTypeOf(await extract("x", { quantize: true })).toEqualTypeOf<Tensor<"int8">>();
    expectTypeOf(await extract("x", { quantize: true, precision: "ubinary" })).toEqualTypeOf<Tensor<"uint8">>();

    const answer = await open("question-answering", "a/b");
    expectTypeOf(await answer("x", "y")).toEqualTypeOf<QuestionAnsweringSingle>();
    expectTypeOf(await answer("x", "y", { top_k: 3 })).toEqualTypeOf<QuestionAnsweringSingle[]>();
    expectTypeOf(await answer(["x"], ["y"])).toEqualTypeOf<QuestionAnsweringSingle[]>();

    const tag = await open("ner", "a/b");
    expectTypeOf((await tag("x"))[0]?.entity).toEqualTypeOf<string | undefined>();
    expectTypeOf((await tag("x", { aggregation_strategy: "simple" }))[0]?.entity_group).toEqualTypeOf<
      string | undefined
    >();
    expectTypeOf((await open("zero-shot-classification", "a/b"))("x", ["y"])).resolves.toHaveProperty("scores");
    expectTypeOf((await open("fill-mask", "a/b"))("x")).resolves.toEqualTypeOf<FillMaskSingle[]>();

    const translate = await open("translation", "a/b");
    expectTypeOf(await translate(["x"], { max_new_tokens: 9, num_beams: 1 })).toEqualTypeOf<
      { translation_text: string }[]
    >();
    expectTypeOf(await open("translation_en_to_de", "a/b")).toEqualTypeOf<typeof translate>();
    expectTypeOf((await open("summarization", "a/b"))("x")).resolves.toEqualTypeOf<{ summary_text: string }[]>();
    expectTypeOf((await open("text2text-generation", "a/b"))("x")).resolves.toEqualTypeOf<TextGenerationSingle[]>();

    await translate("x", { num_beams: 4 });
    // @ts-expect-error: there is no such task
    await open("conversational", "a/b");
    // @ts-expect-error: there are no default models
    await open("fill-mask");
    // @ts-expect-error: there is no such option
    await extract("x", { poling: "mean" });
    // @ts-expect-error: a question needs a context
    await answer("x");
  };
  expectTypeOf(check).toBeFunction();
});

test("a sentence transformer makes vectors", () => {
  const check = async (model: SentenceTransformer, class_: typeof SentenceTransformer) => {
    expectTypeOf(class_.from_pretrained("a/b", { device: "cpu" })).resolves.toEqualTypeOf<SentenceTransformer>();
    expectTypeOf(model.encode("x")).resolves.toEqualTypeOf<Tensor<"float32">>();
    expectTypeOf(model.encode_query(["x"], { truncate_dim: 256 })).resolves.toEqualTypeOf<Tensor<"float32">>();
    expectTypeOf(model.encode_document("x")).resolves.toEqualTypeOf<Tensor<"float32">>();
    expectTypeOf(model.encode(["x"], { normalize_embeddings: true })).resolves.toEqualTypeOf<Tensor<"float32">>();
    // @ts-expect-error: there is no such option
    await model.encode("x", { normalize: true });
  };
  expectTypeOf(check).toBeFunction();
});

test("a processor gives what the model of its repo reads", () => {
  const check = async (processors: typeof AutoProcessor, open: typeof pipeline, audio: Float32Array) => {
    const processor = await processors.from_pretrained("a/b");
    expectTypeOf(await processor(audio)).toEqualTypeOf<AudioFeatures>();
    expectTypeOf(await processor("a.png")).toEqualTypeOf<ImageFeatures>();
    const transcribe = await open("automatic-speech-recognition", "a/b");
    expectTypeOf(await transcribe(audio, { language: "en", return_timestamps: true })).toEqualTypeOf<AsrText>();
    expectTypeOf(await transcribe([audio, "a.wav"])).toEqualTypeOf<AsrText[]>();
    // @ts-expect-error: words have no times
    await transcribe(audio, { return_timestamps: "word" });
  };
  expectTypeOf(check).toBeFunction();
});
