"""Tiny encoder-decoders with what torch computes from them: the encoder's states, logits, and greedy ids."""

import shutil

import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationMixin, WhisperForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from measure import error, line, number, numbers, write_json
from seq2seq_variants import VARIANTS

NEW_TOKENS = 16
# What a margin must be for an input to be tried at all.
MARGIN = 0.025
GREEDY = dict(do_sample=False, num_beams=1, max_new_tokens=NEW_TOKENS)
# How many ids the encoder and the decoder get.
LENGTHS = {"short": (9, 5), "one": (1, 1), "long": (77, 22)}

ABOUT = (
    "torch float32 on these weights, without the batch dimension. The decoder is given decoder_input_ids; of outputs,"
    " the rows of positions. f16_error: the same numbers by the model in float16. greedy: the new ids of generate,"
    " which begins with decoder_start_token_id alone; none of them is EOS. min_margin: the least by which one of them"
    " beat the second best. input_features: [mels][frames]."
)


def generate(folder, names=VARIANTS):
    disable_progress_bar()
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        write_variant(folder / name, VARIANTS[name])
        print(f"seq2seq/{name}", flush=True)


def write_variant(folder, variant):
    config = AutoConfig.for_model(variant["model_type"], **variant["config"])
    for seed in range(1000):
        stored = random_model(config, seed)
        inputs = [telling_input(stored, name) for name in LENGTHS]
        if None in inputs:
            continue
        stored = stored.to(variant["dtype"])
        stored.save_pretrained(folder, max_shard_size=variant["max_shard_size"])
        model, half = (loaded(folder, dtype) for dtype in (torch.float32, torch.float16))
        cases = [measure(model, half, one) for one in inputs]
        if all(is_telling(case, config.eos_token_id) for case in cases):
            break
        shutil.rmtree(folder)
    else:
        raise SystemExit(f"{folder.name}: no seed gives ids that f16 can't change")
    assert_same_weights(stored, model)

    golden = {"about": ABOUT, "seed": seed, "decoder_start_token_id": config.decoder_start_token_id}
    golden["inputs"] = [written(one, case) for one, case in zip(inputs, cases)]
    write_json(folder / "golden.json", golden)


def telling_input(model, name):
    """An input whose greedy ids differ and are far ahead of the others, or None if there is none among a few."""
    for seed in range(30):
        one = input_of(model.config, name, seed)
        greedy, margins = greedy_of(model, one)
        if is_varied(greedy, model.config.eos_token_id) and min(margins) > MARGIN:
            return one
    return None


def input_of(config, name, seed):
    source, target = LENGTHS[name]
    # Not the same ids for both.
    ids = [config.decoder_start_token_id] + random_ids(target - 1, config.vocab_size, seed + 1000)
    one = {"name": name, "decoder_input_ids": ids}
    if config.model_type == "whisper":
        # None the same as that of another length.
        frames = 2 * config.max_source_positions
        one["input_features"] = random_features(config.num_mel_bins, frames, 100 * source + seed)
    else:
        one["input_ids"] = random_ids(source, config.vocab_size, seed)
    return one


def random_ids(count, vocab, seed):
    # Neither the first nor the last few, which mean padding, beginning or end.
    return torch.randint(4, vocab - 1, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def random_features(mels, frames, seed):
    """[mels][frames] of four digits, as torch then reads them: within ±1, as a log-mel spectrogram roughly is."""
    noise = torch.rand((mels, frames), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return [[float(f"{value:.4f}") for value in row] for row in noise.tolist()]


def class_of(config):
    return WhisperForConditionalGeneration if config.model_type == "whisper" else AutoModelForSeq2SeqLM


def random_model(config, seed):
    torch.manual_seed(seed)
    kind = class_of(config)
    model = kind(config) if kind is WhisperForConditionalGeneration else kind.from_config(config)
    # What initialisation leaves at 0 or 1 would hide a bias or a norm's weight that is never read.
    for name, parameter in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith("bias"):
            parameter.normal_(0, 0.2)
        elif "norm" in name:
            parameter.normal_(1, 0.2)
    if config.model_type in ("bart", "marian", "mbart", "pegasus", "m2m_100"):
        vary(model)
    if config.model_type in ("t5", "mt5"):
        vary_t5(model)
    return model.eval()


def vary(model):
    """Lets greedy ids follow from the ids before. Where norms come after, as in BART, random weights otherwise give the
    same id again and again: blocks add what is the same everywhere, and tied embeddings give the last id back.
    """
    layers = model.model.decoder.layers
    for layer in layers:
        layer.encoder_attn.out_proj.weight.mul_(0.2)
        layer.self_attn.out_proj.weight.mul_(0.5)
        layer.fc2.weight.mul_(0.5)
    # The last norm is the decoder's own, or else its last layer's.
    flip(getattr(model.model.decoder, "layer_norm", layers[-1].final_layer_norm).weight)
    model.eval()
    ids = torch.arange(3, 60)[None]
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.sub_(model(input_ids=ids, decoder_input_ids=ids).logits[0].mean(0))


def vary_t5(model):
    """The same; and distances count for as much as words."""
    for block in model.decoder.block:
        block.layer[1].EncDecAttention.o.weight.mul_(0.4)
    for stack in (model.encoder, model.decoder):
        stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.mul_(8)
    flip(model.decoder.final_layer_norm.weight)


def flip(weight):
    """Changes about half of the signs."""
    weight.mul_(torch.randint(0, 2, weight.shape) * 2 - 1)


def loaded(folder, dtype):
    config = AutoConfig.from_pretrained(folder)
    return class_of(config).from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def assert_same_weights(stored, model):
    weights = model.state_dict()
    for name, tensor in stored.state_dict().items():
        # Marian's sines aren't stored, but made anew in float32.
        made = stored.config.model_type == "marian" and "embed_positions" in name
        if not torch.allclose(tensor.float(), weights[name], rtol=0, atol=5e-4 if made else 0):
            raise SystemExit(f"{name} isn't what was saved")


def source(model, one):
    if "input_ids" in one:
        return {"input_ids": torch.tensor([one["input_ids"]])}
    return {"input_features": torch.tensor([one["input_features"]], dtype=model.dtype)}


def kept_positions(count):
    """Of many rows a few: at both ends and between."""
    return list(range(count)) if count <= 9 else [0, count // 4, count // 2, count - 2, count - 1]


def outputs_of(model, one):
    """Both outputs by name in float32, with all rows."""
    outputs = model(**source(model, one), decoder_input_ids=torch.tensor([one["decoder_input_ids"]]))
    return {name: outputs[name][0].float() for name in ("logits", "encoder_last_hidden_state")}


def measure(model, half, one):
    outputs, rough = outputs_of(model, one), outputs_of(half, one)
    positions = {name: kept_positions(len(output)) for name, output in outputs.items()}
    expected = {name: output[positions[name]] for name, output in outputs.items()}
    greedy, margins = greedy_of(model, one)
    plain = model.generate(**source(model, one), **GREEDY)[0].tolist()
    if plain not in (greedy, [model.config.decoder_start_token_id] + greedy):
        raise SystemExit(f"generate gives {plain}, and {greedy}")
    return {
        "positions": positions,
        "outputs": expected,
        "f16_error": {name: error(rough[name][positions[name]], output) for name, output in expected.items()},
        "greedy": greedy,
        "min_margin": min(margins),
    }


def greedy_of(model, one):
    """The new ids, and by how much each beat the second best."""
    # Whisper's own generate, which goes through longer audio, gives neither logits nor the first id.
    out = GenerationMixin.generate(
        model, **source(model, one), **GREEDY, output_logits=True, return_dict_in_generate=True
    )
    best = torch.stack(out.logits)[:, 0].topk(2, dim=-1).values
    return out.sequences[0, 1:].tolist(), (best[:, 0] - best[:, 1]).tolist()


def is_varied(greedy, eos):
    return len(greedy) == NEW_TOKENS and eos not in greedy and len(set(greedy)) >= 5


def is_telling(case, eos):
    """Whether no id is one that rounding to f16 may change, and the ids differ."""
    return is_varied(case["greedy"], eos) and case["min_margin"] > 3 * case["f16_error"]["logits"]["max_abs"]


def written(one, case):
    entry = {"name": one["name"]}
    if "input_ids" in one:
        entry["input_ids"] = line(one["input_ids"])
    else:
        entry["input_features"] = [line(row) for row in one["input_features"]]
    entry["decoder_input_ids"] = line(one["decoder_input_ids"])
    entry["positions"] = {name: line(rows) for name, rows in case["positions"].items()}
    entry["outputs"] = {name: [line(numbers(row)) for row in rows] for name, rows in case["outputs"].items()}
    entry["f16_error"] = case["f16_error"]
    entry["greedy"] = line(case["greedy"])
    entry["min_margin"] = number(case["min_margin"])
    return entry
