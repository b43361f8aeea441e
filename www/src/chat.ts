import {
  InterruptableStoppingCriteria,
  LayerlineError,
  type Message,
  type PreTrainedModel,
  type PreTrainedTokenizer,
  TextStreamer,
} from "layerline";
import { create, element } from "./dom.ts";
import * as format from "./format.ts";
import { hide_problem, show_problem } from "./problem.ts";

export interface ChatModel {
  model: PreTrainedModel;
  tokenizer: PreTrainedTokenizer;
}

/** An answer that is being written. */
interface Answering {
  /** Resolves when it is whole, stopped, or has failed. */
  done: Promise<void>;
  abort: AbortController;
  /** Whether a token has come. */
  has_begun: boolean;
}

/** How an answer went, in milliseconds and tokens. */
interface Timing {
  started: number;
  first: number | undefined;
  last: number;
  tokens: number;
}

const IDLE_PLACEHOLDER = "Load a model first";

/** The conversation: messages, the composer, the stop button. */
export class Chat {
  readonly #log = element("messages", HTMLDivElement);
  readonly #welcome = element("welcome", HTMLDivElement);
  readonly #welcome_empty = element("welcome-empty", HTMLDivElement);
  readonly #welcome_loaded = element("welcome-loaded", HTMLDivElement);
  readonly #problem = element("chat-problem", HTMLDivElement);
  readonly #form = element("chat-form", HTMLFormElement);
  readonly #prompt = element("prompt", HTMLTextAreaElement);
  readonly #send = element("send", HTMLButtonElement);
  readonly #stop = element("stop", HTMLButtonElement);
  readonly #clear = element("clear", HTMLButtonElement);
  readonly #max_new_tokens = element("max-new-tokens", HTMLInputElement);
  readonly #stopping = new InterruptableStoppingCriteria();
  readonly #on_busy: (busy: boolean) => void;
  readonly #on_first_token: () => void;
  #messages: Message[] = [];
  #loaded: ChatModel | undefined;
  #has_template = true;
  #answering: Answering | undefined;

  /**
   * @param on_busy is told when an answer begins and ends
   * @param on_first_token is called when the model has read the prompt
   */
  constructor(on_busy: (busy: boolean) => void, on_first_token: () => void) {
    this.#on_busy = on_busy;
    this.#on_first_token = on_first_token;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.#prompt.addEventListener("keydown", (event) => {
      // Not while an input method is composing: there, Enter picks a candidate.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      void this.#submit();
    });
    this.#prompt.addEventListener("input", () => this.#grow());
    this.#stop.addEventListener("click", () => {
      this.#interrupt();
      this.#stop.disabled = true;
    });
    this.#clear.addEventListener("click", () => {
      this.clear();
      this.#prompt.focus();
    });
  }

  /** Starts a conversation with a model, or with none. */
  attach(loaded: ChatModel | undefined): void {
    this.#set_model(loaded);
    this.#welcome_empty.hidden = loaded !== undefined;
    this.#welcome_loaded.hidden = loaded === undefined;
    this.#prompt.disabled = loaded === undefined;
    this.clear();
  }

  /** Ends the answer that is being written, keeps the conversation, and sends nothing until `resume`. */
  async pause(): Promise<void> {
    this.wait("Loading…");
    this.#interrupt();
    await this.#answering?.done;
  }

  /** Sends nothing until `resume`, and says why. */
  wait(why: string): void {
    this.#set_model(undefined);
    this.#prompt.placeholder = why;
  }

  /** Goes on with the same conversation. */
  resume(loaded: ChatModel): void {
    this.#set_model(loaded);
  }

  #set_model(loaded: ChatModel | undefined): void {
    this.#loaded = loaded;
    this.#has_template = loaded !== undefined && has_chat_template(loaded.tokenizer);
    const invitation = this.#has_template ? "Say something" : "This model has no chat template: it continues your text";
    this.#prompt.placeholder = loaded ? invitation : IDLE_PLACEHOLDER;
    this.#send.disabled = loaded === undefined;
  }

  get is_busy(): boolean {
    return this.#answering !== undefined;
  }

  /** Before the first token there is nothing to keep, and perhaps weights to wait for. */
  #interrupt(): void {
    this.#stopping.interrupt();
    if (this.#answering && !this.#answering.has_begun) this.#answering.abort.abort();
  }

  clear(): void {
    this.#interrupt();
    this.#messages = [];
    this.#log.replaceChildren(this.#welcome);
    this.#clear.hidden = true;
    hide_problem(this.#problem);
  }

  async #submit(): Promise<void> {
    const content = this.#prompt.value.trim();
    const loaded = this.#loaded;
    if (content === "" || loaded === undefined || this.is_busy) return;
    this.#prompt.value = "";
    this.#grow();
    const answering: Answering = { done: Promise.resolve(), abort: new AbortController(), has_begun: false };
    this.#answering = answering;
    answering.done = this.#exchange(loaded, content, answering);
    this.#set_busy(true);
    await answering.done;
    this.#answering = undefined;
    this.#set_busy(false);
  }

  /** A question and its answer. */
  async #exchange(loaded: ChatModel, content: string, answering: Answering): Promise<void> {
    const conversation = this.#messages;
    conversation.push({ role: "user", content });
    hide_problem(this.#problem);
    this.#welcome.remove();
    const question = this.#append("user", content);
    const bubble = this.#append("assistant", "");
    try {
      const answer = await this.#answer(loaded, bubble, answering);
      conversation.push({ role: "assistant", content: answer });
    } catch (error) {
      conversation.pop();
      // Another conversation has begun.
      if (this.#messages !== conversation) return;
      if (!answering.abort.signal.aborted) show_problem(this.#problem, error);
      // It goes back to where it can be sent again.
      question.remove();
      bubble.remove();
      if (conversation.length === 0) this.#log.append(this.#welcome);
      this.#prompt.value ||= content;
      this.#grow();
    }
  }

  async #answer({ model, tokenizer }: ChatModel, bubble: HTMLElement, answering: Answering): Promise<string> {
    const text = bubble.querySelector(".text") as HTMLElement;
    const note = bubble.querySelector(".note") as HTMLElement;
    const time: Timing = { started: performance.now(), first: undefined, last: 0, tokens: 0 };
    const streamer = new TextStreamer(tokenizer, {
      skip_prompt: true,
      callback_function: (piece) => {
        const at_end = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 48;
        text.append(piece);
        if (at_end) this.#log.scrollTop = this.#log.scrollHeight;
      },
      token_callback_function: (ids) => {
        if (!answering.has_begun) this.#on_first_token();
        answering.has_begun = true;
        time.last = performance.now();
        time.first ??= time.last;
        time.tokens += ids.length;
        write_timing(note, time);
      },
    });
    this.#stopping.reset();
    note.textContent = "Reading the prompt…";
    await model.generate({
      ...this.#inputs(tokenizer),
      max_new_tokens: this.#max_new_tokens.valueAsNumber || 256,
      stopping_criteria: this.#stopping,
      signal: answering.abort.signal,
      streamer,
    });
    bubble.dataset.done = "true";
    if (this.#stopping.interrupted) note.append(" · stopped");
    return text.textContent ?? "";
  }

  #inputs(tokenizer: PreTrainedTokenizer) {
    if (this.#has_template) return tokenizer.apply_chat_template(this.#messages, { add_generation_prompt: true });
    return tokenizer(this.#messages.map((message) => message.content).join(""));
  }

  #append(role: "user" | "assistant", content: string): HTMLElement {
    const bubble = create(
      "article",
      { class: `message ${role}`, "data-testid": `message-${role}` },
      create("h4", { class: "visually-hidden" }, role === "user" ? "You" : "Model"),
      create("div", { class: "text" }, content),
    );
    if (role === "assistant") bubble.append(create("p", { class: "note figures" }));
    this.#log.append(bubble);
    this.#log.scrollTop = this.#log.scrollHeight;
    return bubble;
  }

  #set_busy(busy: boolean): void {
    // Screen readers read an answer when it is whole, not word by word.
    this.#log.setAttribute("aria-busy", String(busy));
    this.#send.hidden = busy;
    this.#stop.hidden = !busy;
    this.#stop.disabled = false;
    this.#clear.hidden = busy || this.#messages.length === 0;
    this.#on_busy(busy);
    // Whoever has gone on to something else, such as the slider, stays there.
    const is_elsewhere = document.activeElement !== document.body && !this.#form.contains(document.activeElement);
    if (!busy && !is_elsewhere) this.#prompt.focus({ preventScroll: true });
  }

  /** As high as its text, up to the limit in the style sheet. */
  #grow(): void {
    this.#prompt.style.height = "auto";
    this.#prompt.style.height = `${this.#prompt.scrollHeight + 2}px`;
  }
}

function has_chat_template(tokenizer: PreTrainedTokenizer): boolean {
  try {
    tokenizer.apply_chat_template([{ role: "user", content: "" }], { tokenize: false });
    return true;
  } catch (error) {
    return !(error instanceof LayerlineError && error.code === "CHAT_TEMPLATE");
  }
}

function write_timing(note: HTMLElement, { started, first = started, last, tokens }: Timing): void {
  const per_second = tokens > 1 ? ((tokens - 1) * 1000) / (last - first) : undefined;
  note.dataset.tokens = String(tokens);
  note.dataset.firstTokenMs = String(first - started);
  if (per_second !== undefined) note.dataset.tokensPerSecond = String(per_second);
  note.textContent = [
    `${tokens} ${tokens === 1 ? "token" : "tokens"}`,
    ...(per_second === undefined ? [] : [format.rate(per_second)]),
    `first after ${format.seconds(first - started)}`,
  ].join(" · ");
}
