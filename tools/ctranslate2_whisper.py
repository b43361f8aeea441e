"""Turns an English-only Whisper that was converted to CTranslate2 in float16 back into the repo that transformers reads.

It does with the standard library alone: no weight is computed anew, they only get other names and another order.
"""

import json
import math
import re
import struct

from repos import write_json

FLOAT16 = 4  # of CTranslate2's types of values
# The part of a layer in CTranslate2, transformers' part, and what the rows of its linear layers are one below the other.
ATTENTION = {
    "self_attention": ("self_attn", {0: ("q_proj", "k_proj", "v_proj"), 1: ("out_proj",)}),
    "attention": ("encoder_attn", {0: ("q_proj",), 1: ("k_proj", "v_proj"), 2: ("out_proj",)}),
}
NORMS = {
    "self_attention": "self_attn_layer_norm",
    "attention": "encoder_attn_layer_norm",
    "ffn": "final_layer_norm",
}
AFFINE = {"gamma": "weight", "beta": "bias"}
SECONDS_OF_TIMES, TIMES_PER_SECOND = 30, 50


def write_repo(source, target):
    """Writes the repo `target` from the folder `source` of CTranslate2's files."""
    tensors = {}
    for name, variable in read_model(source / "model.bin").items():
        tensors |= renamed(name, *variable)
    write_safetensors(target / "model.safetensors", tensors)
    shapes = {name: shape for name, (shape, _) in tensors.items()}
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    rules = json.loads((source / "config.json").read_text())

    vocab = shapes["model.decoder.embed_tokens.weight"][0]
    add_times(tokenizer, vocab)
    write_json(target / "tokenizer.json", tokenizer)
    write_json(target / "tokenizer_config.json", tokenizer_config(tokenizer))
    write_json(target / "config.json", config(shapes, ids))
    write_json(target / "generation_config.json", generation_config(rules, ids))
    write_json(target / "preprocessor_config.json", preprocessor_config(shapes))


def read_model(path):
    """{name: (shape, bytes)} of a model.bin's variables in float16; of the scalars that say what a model is, nothing."""
    data = memoryview(path.read_bytes())
    at = 0

    def read(form):
        nonlocal at
        values = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def take(count):
        nonlocal at
        at += count
        return data[at - count : at]

    def string():
        # Its length counts the zero that ends it.
        return bytes(take(read("H")))[:-1].decode()

    header = (read("I"), string(), read("I"))
    if header != (6, "WhisperSpec", 3):
        raise SystemExit(f"{path}: {header} is another format")
    variables = {}
    for _ in range(read("I")):
        name, rank = string(), read("B")
        shape = [read("I") for _ in range(rank)]
        kind, values = read("B"), take(read("I"))
        if kind != FLOAT16:
            if math.prod(shape) != 1:
                raise SystemExit(f"{path}: {name} isn't float16")
            continue
        if len(values) != 2 * math.prod(shape):
            raise SystemExit(f"{path}: {name} isn't of its shape")
        variables[name] = shape, values
    # The output layer is the embedding by another name, as it is in transformers.
    return variables


def renamed(name, shape, values):
    """What one variable is in transformers: {name: (shape, bytes)}."""
    stack, _, rest = name.partition("/")
    prefix = f"model.{stack}"
    if layer := re.fullmatch(r"layer_(\d+)/(\w+)/(?:linear_(\d)|layer_norm)/(\w+)", rest):
        number, part, linear, kind = layer.groups()
        prefix += f".layers.{number}"
        if linear is None:
            return {f"{prefix}.{NORMS[part]}.{AFFINE[kind]}": (shape, values)}
        if part == "ffn":
            return {f"{prefix}.fc{int(linear) + 1}.{kind}": (shape, values)}
        module, projections = ATTENTION[part]
        return split(f"{prefix}.{module}", projections[int(linear)], kind, shape, values)
    if convolution := re.fullmatch(r"(conv[12])/(weight|bias)", rest):
        return {f"{prefix}.{'.'.join(convolution.groups())}": (shape, values)}
    if norm := re.fullmatch(r"layer_norm/(gamma|beta)", rest):
        return {f"{prefix}.layer_norm.{AFFINE[norm[1]]}": (shape, values)}
    tables = {"position_encodings/encodings": "embed_positions", "embeddings/weight": "embed_tokens"}
    if rest in tables:
        return {f"{prefix}.{tables[rest]}.weight": (shape, values)}
    raise SystemExit(f"no rule for {name}")


def split(module, projections, kind, shape, values):
    rows, size = shape[0] // len(projections), len(values) // len(projections)
    found = {}
    for at, projection in enumerate(projections):
        part = values[at * size : (at + 1) * size]
        if kind == "bias" and projection == "k_proj":
            # Whisper's keys have no bias; CTranslate2 gives them one, because it has one for all.
            if any(part):
                raise SystemExit(f"{module}.{projection} has a bias")
            continue
        found[f"{module}.{projection}.{kind}"] = [rows, *shape[1:]], part
    return found


def write_safetensors(path, tensors):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, values) in sorted(tensors.items()):
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + len(values)]}
        end += len(values)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, (_, values) in sorted(tensors.items()):
            file.write(values)


def add_times(tokenizer, vocab):
    """Adds the tokens of times, which the model has, but CTranslate2's tokenizer.json hasn't."""
    tokens = tokenizer["added_tokens"]
    first = tokens[-1]["id"] + 1
    if first + SECONDS_OF_TIMES * TIMES_PER_SECOND + 1 != vocab:
        raise SystemExit(f"the times from {first} on don't fill the vocabulary of {vocab}")
    for at in range(vocab - first):
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
        tokens.append({"id": first + at, "content": f"<|{at / TIMES_PER_SECOND:.2f}|>", **flags})


def tokenizer_config(tokenizer):
    ends = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>")
    special = [token["content"] for token in tokenizer["added_tokens"] if token["special"]]
    return {
        "add_prefix_space": False,
        "additional_special_tokens": special,
        **ends,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 1024,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "tokenizer_class": "WhisperTokenizer",
    }


def config(shapes, ids):
    vocab, width = shapes["model.decoder.embed_tokens.weight"]
    sizes = {"d_model": width, "vocab_size": vocab, "num_mel_bins": shapes["model.encoder.conv1.weight"][1]}
    for stack, positions in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
        layers = {name.split(".")[3] for name in shapes if name.startswith(f"model.{stack}.layers.")}
        sizes[f"{stack}_layers"] = len(layers)
        # A head of every Whisper is 64 wide.
        sizes[f"{stack}_attention_heads"] = width // 64
        sizes[f"{stack}_ffn_dim"] = shapes[f"model.{stack}.layers.0.fc1.weight"][0]
        sizes[positions] = shapes[f"model.{stack}.embed_positions.weight"][0]
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        **sizes,
        "num_hidden_layers": sizes["encoder_layers"],
        "activation_function": "gelu",
        "scale_embedding": False,
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "use_cache": True,
        "torch_dtype": "float16",
        **special_ids(ids),
    }


def special_ids(ids):
    end = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), ids["<|endoftext|>"])
    return end | {"decoder_start_token_id": ids["<|startoftranscript|>"]}


def generation_config(rules, ids):
    return {
        **special_ids(ids),
        "alignment_heads": rules["alignment_heads"],
        "begin_suppress_tokens": rules["suppress_ids_begin"],
        "forced_decoder_ids": [[1, ids["<|notimestamps|>"]]],
        "is_multilingual": False,
        "max_initial_timestamp_index": 50,
        "max_length": 448,
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "return_timestamps": False,
        "suppress_tokens": rules["suppress_ids"],
    }


def preprocessor_config(shapes):
    return {
        "chunk_length": 30,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": shapes["model.encoder.conv1.weight"][1],
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": 480_000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "sampling_rate": 16_000,
    }
