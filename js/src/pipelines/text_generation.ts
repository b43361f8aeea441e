import { LayerlineError } from "../errors.js";
import type { GenerateInputs } from "../generation_options.js";
import type { CausalLMOutput } from "../outputs.js";
import { pad } from "../tokenize.js";
import type { ChatTemplateOptions, Message } from "../tokenizer.js";
import { Pipeline } from "./pipeline.js";

export type Chat = Message[];

/** A text and what follows it, or that alone. */
export interface TextGenerationSingle {
  generated_text: string;
}

/** A chat with the answer as its last message. */
export interface ChatGenerationSingle {
  generated_text: Chat;
}

/** Everything that `generate` takes, and how the text goes in and comes out. */
export interface TextGenerationOptions
  extends Omit<GenerateInputs, "input_ids" | "inputs" | "attention_mask" | "token_type_ids"> {
  /** Default: whether `tokenizer_config.json` says that they are added to a text. Chats have them already. */
  add_special_tokens?: boolean | null;
  /** false: only what is new. Default true; a chat's answer is always apart. */
  return_full_text?: boolean | null;
  tools?: object[] | null;
  documents?: object[] | null;
  chat_template?: string | null;
  /** More options of the chat template. */
  tokenizer_encode_kwargs?: ChatTemplateOptions | null;
}

const NEW_TOKENS = 256;

// The call signatures of the pipeline; see Callable.
export interface TextGenerationPipeline {
  (text: string, options?: TextGenerationOptions): Promise<TextGenerationSingle[]>;
  (texts: string[], options?: TextGenerationOptions): Promise<TextGenerationSingle[][]>;
  (chat: Chat, options?: TextGenerationOptions): Promise<ChatGenerationSingle[]>;
  (chats: Chat[], options?: TextGenerationOptions): Promise<ChatGenerationSingle[][]>;
}

/** What follows texts, or answers chats: 256 tokens at most unless another length is asked for. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface says only that instances can be called
export class TextGenerationPipeline extends Pipeline<CausalLMOutput> {
  /** @internal */
  override async _call(texts: unknown, options: TextGenerationOptions = {}): Promise<unknown> {
    const {
      add_special_tokens,
      return_full_text,
      tools,
      documents,
      chat_template,
      tokenizer_encode_kwargs,
      ...generation
    } = options;
    const chats = chats_of(texts);
    const template = { tools, documents, chat_template, ...tokenizer_encode_kwargs };
    const given = chats?.map((chat) =>
      this.tokenizer.apply_chat_template(chat, {
        add_generation_prompt: true,
        ...Object.fromEntries(Object.entries(template).filter(([, value]) => value != null)),
        tokenize: false,
      }),
    );
    const prompts = given ?? texts_of(texts);
    const { config } = this.tokenizer;
    const special = chats
      ? false
      : (add_special_tokens ?? (config.add_bos_token === true || config.add_eos_token === true));
    const rows = this.#rows(prompts, special);
    const asked = { ...generation.generation_config, ...generation };
    const output = await this.model.generate({
      ...(asked.max_new_tokens == null && asked.max_length == null && { max_new_tokens: NEW_TOKENS }),
      ...generation,
      input_ids: rows.map(({ ids }) => ids),
      attention_mask: rows.map(({ mask }) => mask),
    });
    // One of each, or as many as were asked for.
    const of_each = (output.dims[0] ?? 0) / rows.length;
    const generated = rows.map(({ ids, mask }, row) => {
      const skip = { skip_special_tokens: true };
      const padding = mask.indexOf(1);
      const chat = chats?.[row];
      return Array.from({ length: of_each }, (_, nth) => {
        const given = output.at(row * of_each + nth).slice([padding, output.dims[1] ?? 0]);
        const text = this.tokenizer.decode(given, skip);
        const whole = !chats && (return_full_text ?? true);
        // Cut from the whole, since a token's spaces depend on what is before it.
        const own = whole ? text : text.slice(this.tokenizer.decode(ids.slice(padding), skip).length);
        return { generated_text: chat ? [...chat, { role: "assistant", content: own }] : own };
      });
    });
    return typeof texts === "string" || (chats && !is_list_of_chats(texts)) ? generated[0] : generated;
  }

  /** The prompts as ids, shorter ones padded on the left. */
  #rows(prompts: string[], add_special_tokens: boolean) {
    const encoded = this.tokenizer(prompts, { add_special_tokens, truncation: true, return_tensor: false });
    const rows = encoded.input_ids.map((ids) => ({ ids, mask: ids.map(() => 1), type_ids: ids.map(() => 0) }));
    if (rows.some(({ ids }) => ids.length === 0)) {
      throw new LayerlineError("INPUT_IDS", "A text of no tokens can't be continued; give at least a word.");
    }
    const { pad_token_id, eos_token_id } = this.tokenizer;
    // Padding is never read: where a tokenizer has no token for it, any other will do.
    pad(rows, "longest", { side: "left", id: pad_token_id ?? eos_token_id ?? 0, type_id: 0 });
    return rows;
  }
}

function is_chat(value: unknown): value is Chat {
  const is_message = (message: unknown) => typeof message === "object" && message !== null && "role" in message;
  return Array.isArray(value) && value.length > 0 && value.every(is_message);
}

function is_list_of_chats(value: unknown): value is Chat[] {
  return Array.isArray(value) && value.length > 0 && value.every(is_chat);
}

function chats_of(value: unknown): Chat[] | undefined {
  if (is_chat(value)) return [value];
  return is_list_of_chats(value) ? value : undefined;
}

function texts_of(value: unknown): string[] {
  const list = typeof value === "string" ? [value] : value;
  if (Array.isArray(list) && list.length > 0 && list.every((text) => typeof text === "string")) return list;
  throw new LayerlineError(
    "TOKENIZER",
    "Text generation takes a text, an array of texts, a chat or an array of chats.",
  );
}
