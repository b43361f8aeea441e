"""Tiny encoders, without a head and with each head that Layerline runs, each with what torch computes from it."""

import shutil

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.utils.logging import disable_progress_bar

from encoder_variants import VARIANTS
from measure import error, line, number, numbers, write_json

TASKS = {
    "base": AutoModel,
    "masked-lm": AutoModelForMaskedLM,
    "sequence-classification": AutoModelForSequenceClassification,
    "token-classification": AutoModelForTokenClassification,
    "question-answering": AutoModelForQuestionAnswering,
}
# Outputs that have a row a token; the others have one an input.
PER_TOKEN = ("last_hidden_state", "start_logits", "end_logits")
SHORT, LONG = 9, 77

ABOUT = (
    "torch float32 on these weights, without the batch dimension; of outputs that have a row a token, the rows of"
    " `positions`. f16_error: the same numbers by the model in float16. min_margin: the least by which what is"
    " likeliest (a token, a label, an end of the answer) beat the second. hidden_states: the embeddings and what each"
    " layer gives, the last after the final norm where there is one. batch: all inputs at once, padded on the right;"
    " torch gives each the same as alone, max_difference at most."
)


def generate(folder, names=VARIANTS):
    disable_progress_bar()
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        write_variant(folder / name, VARIANTS[name])
        print(f"encoders/{name}", flush=True)


def write_variant(folder, variant):
    task = variant["task"]
    config = AutoConfig.for_model(variant["model_type"], **variant["config"])
    inputs = inputs_of(config)
    for seed in range(1000):
        stored = random_model(config, task, seed).to(variant["dtype"])
        stored.save_pretrained(folder, max_shard_size=variant.get("max_shard_size", "5GB"))
        model, half = (loaded(folder, task, dtype) for dtype in (torch.float32, torch.float16))
        cases = [measure(model, half, task, one) for one in inputs]
        if is_telling(task, cases):
            break
        shutil.rmtree(folder)
    else:
        raise SystemExit(f"{folder.name}: no seed gives answers that f16 can't change")
    assert_same_weights(stored, model)

    golden = {"about": ABOUT, "seed": seed, "task": task}
    golden["inputs"] = [written(one, case) for one, case in zip(inputs, cases)]
    golden["batch"] = batch(model, inputs)
    write_json(folder / "golden.json", golden)


def inputs_of(config):
    """Each with a name, input_ids, and token_type_ids where there is more than one segment."""
    inputs = [
        {"name": name, "input_ids": random_ids(count, config.vocab_size)}
        for name, count in (("short", SHORT), ("one", 1), ("long", LONG))
    ]
    if config.model_type == "bert":
        ids = random_ids(8, config.vocab_size)
        inputs.append({"name": "pair", "input_ids": ids, "token_type_ids": [0] * 5 + [1] * 3})
    if config.model_type in ("roberta", "xlm-roberta", "mpnet"):
        # Such a token has the position of padding, and those after it count on without it.
        ids = random_ids(7, config.vocab_size)
        inputs.append({"name": "pad-inside", "input_ids": ids[:3] + [config.pad_token_id] + ids[3:]})
    return inputs


def random_ids(count, vocab):
    # None that means padding, beginning or end.
    return torch.randint(3, vocab, (count,), generator=torch.Generator().manual_seed(count)).tolist()


def random_model(config, task, seed):
    torch.manual_seed(seed)
    model = TASKS[task].from_config(config, attn_implementation="eager").eval()
    # What initialisation leaves at 0 or 1 would hide a bias or a norm's weight that is never read.
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(0, 0.2)
        elif "norm" in name.lower():
            parameter.normal_(0 if config.model_type.startswith("gemma") else 1, 0.2)
    return model


def loaded(folder, task, dtype):
    model = TASKS[task].from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    for name, buffer in model.named_buffers():
        # Rotary frequencies are float32 whatever the weights' dtype.
        if "inv_freq" in name and buffer.dtype != torch.float32:
            raise SystemExit(f"{folder.name}: {name} is {buffer.dtype}")
    return model


def assert_same_weights(stored, model):
    weights = model.state_dict()
    for name, tensor in stored.state_dict().items():
        if not torch.equal(tensor.float(), weights[name]):
            raise SystemExit(f"{name} isn't what was saved")


def run(model, inputs):
    """The outputs by name in float32, with the batch dimension."""
    tensors = {key: torch.tensor(value) for key, value in inputs.items()}
    outputs = dict(model(**tensors, output_hidden_states=True))
    hidden = outputs.pop("hidden_states")
    outputs.pop("past_key_values", None)
    return {name: output.float() for name, output in outputs.items()}, hidden


def one_by_one(model, case):
    outputs, hidden = run(model, {key: [case[key]] for key in ("input_ids", "token_type_ids") if key in case})
    return {name: output[0] for name, output in outputs.items()}, [state[0] for state in hidden]


def has_rows(name, output):
    # Logits of a whole input are [labels]; those of tokens are [tokens, …].
    return name in PER_TOKEN or (name == "logits" and output.ndim == 2)


def positions(task, count):
    """Of a long input that has a long row a token, a few rows: at both ends and between."""
    if count <= SHORT or task not in ("base", "masked-lm"):
        return list(range(count))
    return [0, count // 4, count // 2, count - 2, count - 1]


def measure(model, half, task, one):
    outputs, hidden = one_by_one(model, one)
    rough, _ = one_by_one(half, one)
    count = len(one["input_ids"])
    rows = positions(task, count)

    def kept(named):
        return {name: out[rows] if has_rows(name, out) else out for name, out in named.items()}

    expected, got = kept(outputs), kept(rough)
    case = {"positions": rows, "outputs": expected}
    case["f16_error"] = {name: error(got[name], expected[name]) for name in expected}
    if task == "base" and one["name"] == "short":
        if not torch.equal(hidden[-1], outputs["last_hidden_state"]):
            raise SystemExit("the last hidden state isn't the last of hidden_states")
        case["hidden_states"] = hidden
    case["min_margin"] = {
        name: number((best[..., 0] - best[..., 1]).min())
        for name, output in expected.items()
        if "logits" in name and output.shape[-1] > 1
        for best in [output.topk(2, dim=-1).values]
    }
    return case


def is_telling(task, cases):
    """Whether no answer is one that rounding to f16 may change, and not all are the same."""
    safe = all(
        margin > 3 * case["f16_error"][name]["max_abs"] for case in cases for name, margin in case["min_margin"].items()
    )
    # Of a few numbers none may be as good as exact by luck, for what else rounds would then be wrong.
    errors = [error["rms"] for case in cases for name, error in case["f16_error"].items() if name == "logits"]
    if errors and min(errors) < max(errors) / 4:
        return False
    answers = [case["outputs"][name].argmax(-1).flatten() for case in cases for name in case["min_margin"]]
    return safe and (task == "base" or len(torch.cat(answers).unique()) > 1)


def written(one, case):
    entry = {"name": one["name"], "input_ids": line(one["input_ids"])}
    if "token_type_ids" in one:
        entry["token_type_ids"] = line(one["token_type_ids"])
    entry["positions"] = line(case["positions"])
    entry["outputs"] = {name: nested(output) for name, output in case["outputs"].items()}
    entry["f16_error"] = case["f16_error"]
    if case["min_margin"]:
        entry["min_margin"] = case["min_margin"]
    if "hidden_states" in case:
        entry["hidden_states"] = [nested(state) for state in case["hidden_states"]]
    return entry


def nested(tensor):
    return line(numbers(tensor)) if tensor.ndim == 1 else [nested(row) for row in tensor]


def batch(model, inputs):
    width = max(len(one["input_ids"]) for one in inputs)

    def padded(values, padding):
        return values + [padding] * (width - len(values))

    together = {
        "input_ids": [padded(one["input_ids"], model.config.pad_token_id) for one in inputs],
        "attention_mask": [padded([1] * len(one["input_ids"]), 0) for one in inputs],
    }
    if any("token_type_ids" in one for one in inputs):
        together["token_type_ids"] = [padded(one.get("token_type_ids", []), 0) for one in inputs]
    outputs, _ = run(model, together)

    largest = 0.0
    for index, one in enumerate(inputs):
        count = len(one["input_ids"])
        for name, expected in one_by_one(model, one)[0].items():
            got = outputs[name][index]
            got = got[:count] if has_rows(name, expected) else got
            largest = max(largest, (got - expected).abs().max().item())
    if largest > 1e-5:
        raise SystemExit(f"{model.config.model_type}: the batch differs by {largest}")
    return {key: [line(row) for row in rows] for key, rows in together.items()} | {"max_difference": number(largest)}
