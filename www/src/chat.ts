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
  readonly #prompt = element("prompt", HTMLTextAreaElement);
  readonly #send = element("send", HTMLButtonElement);
  readonly #stop = element("stop", HTMLButtonElement);
  readonly #clear = element("clear", HTMLButtonElement);
  readonly #max_new_tokens = element("max-new-tokens", HTMLInputElement);
  readonly #stopping = new InterruptableStoppingCriteria();
  readonly #on_busy: (busy: boolean) => void;
  #messages: Message[] = [];
  #loaded: ChatModel | undefined;
  #has_template = true;

  /** @param on_busy is told when an answer begins and ends */
  constructor(on_busy: (busy: boolean) => void) {
    this.#on_busy = on_busy;
    element("chat-form", HTMLFormElement).addEventListener("submit", (event) => {
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
      this.#stopping.interrupt();
      this.#stop.disabled = true;
    });
    this.#clear.addEventListener("click", () => {
      this.clear();
      this.#prompt.focus();
    });
  }

  /** Starts a conversation with a model, or with none. */
  attach(loaded: ChatModel | undefined): void {
    this.#stopping.interrupt();
    this.#loaded = loaded;
    this.#has_template = loaded !== undefined && has_chat_template(loaded.tokenizer);
    const invitation = this.#has_template ? "Say something" : "This model has no chat template: it continues your text";
    this.#prompt.placeholder = loaded ? invitation : IDLE_PLACEHOLDER;
    this.#welcome_empty.hidden = loaded !== undefined;
    this.#welcome_loaded.hidden = loaded === undefined;
    this.#prompt.disabled = loaded === undefined;
    this.#send.disabled = loaded === undefined;
    this.clear();
  }

  clear(): void {
    this.#stopping.interrupt();
    this.#messages = [];
    this.#log.replaceChildren(this.#welcome);
    this.#clear.hidden = true;
    hide_problem(this.#problem);
  }

  async #submit(): Promise<void> {
    const content = this.#prompt.value.trim();
    const loaded = this.#loaded;
    if (content === "" || loaded === undefined || this.#send.hidden) return;
    const conversation = this.#messages;
    conversation.push({ role: "user", content });
    this.#prompt.value = "";
    this.#grow();
    hide_problem(this.#problem);
    this.#welcome.remove();
    const question = this.#append("user", content);
    const bubble = this.#append("assistant", "");

    this.#set_busy(true);
    try {
      const answer = await this.#answer(loaded, bubble);
      conversation.push({ role: "assistant", content: answer });
    } catch (error) {
      conversation.pop();
      if (this.#messages === conversation && loaded === this.#loaded) {
        show_problem(this.#problem, error);
        // It goes back to where it can be sent again.
        question.remove();
        bubble.remove();
        this.#prompt.value ||= content;
        this.#grow();
      }
    } finally {
      this.#set_busy(false);
    }
  }

  async #answer({ model, tokenizer }: ChatModel, bubble: HTMLElement): Promise<string> {
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
    if (!busy) this.#prompt.focus({ preventScroll: true });
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
