"""Tiny models that read images, and CLIP's towers, each with what torch computes from it."""

import shutil

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)
from transformers.utils.logging import disable_progress_bar

from measure import error, line, number, numbers, write_json

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16

# Nothing a power of two. The small ones are for float32, whose files are twice as large.
SIZES = dict(hidden_size=72, num_hidden_layers=2, num_attention_heads=6, intermediate_size=100)
SMALL = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=76)
IMAGE = dict(image_size=30, patch_size=6)
TEXT = dict(vocab_size=99, max_position_embeddings=20, bos_token_id=97, eos_token_id=98, pad_token_id=98)
ANIMALS = {0: "cat", 1: "dog", 2: "newt"}
LABELS = dict(id2label=ANIMALS, label2id={label: index for index, label in ANIMALS.items()})

VARIANTS = {
    "vit-base": dict(model=ViTModel, config=ViTConfig(**SIZES, **IMAGE), dtype=BF16, max_shard_size="60KB"),
    "vit-image-classification": dict(
        model=ViTForImageClassification, config=ViTConfig(**SIZES, **IMAGE, **LABELS), dtype=F16
    ),
    # One colour, sides that differ, pixels beside the last patches, an epsilon and an activation that show.
    "vit-image-classification-oblong": dict(
        model=ViTForImageClassification,
        config=ViTConfig(
            **SMALL, **LABELS, image_size=[33, 26], patch_size=[6, 5], num_channels=1, qkv_bias=False,
            hidden_act="relu", layer_norm_eps=1e-2,
        ),
        dtype=F32,
    ),
    # Both towers, each of its own width.
    "clip": dict(
        model=CLIPModel,
        config=CLIPConfig(
            text_config=SMALL | TEXT | dict(projection_dim=20), vision_config=SIZES | IMAGE | dict(projection_dim=20),
            projection_dim=20,
        ),
        dtype=F16,
        max_shard_size="100KB",
    ),
    # The end is the largest id.
    "clip-text": dict(
        model=CLIPTextModelWithProjection, config=CLIPTextConfig(**SMALL, **TEXT | dict(eos_token_id=2), projection_dim=20),
        dtype=F32,
    ),
    "clip-vision": dict(
        model=CLIPVisionModelWithProjection,
        config=CLIPVisionConfig(**SIZES, **IMAGE, projection_dim=20, hidden_act="gelu"), dtype=BF16,
    ),
}  # fmt: skip

TASKS = {
    ViTModel: {"base": ViTModel},
    ViTForImageClassification: {"image-classification": ViTForImageClassification},
    CLIPModel: {
        "text-projection": CLIPTextModelWithProjection,
        "vision-projection": CLIPVisionModelWithProjection,
    },
    CLIPTextModelWithProjection: {"text-projection": CLIPTextModelWithProjection},
    CLIPVisionModelWithProjection: {"vision-projection": CLIPVisionModelWithProjection},
}

ABOUT = (
    "torch float32 on these weights, without the batch dimension; of outputs that have a row a token, the rows of"
    " `positions`. Of an image, element i of pixel_values is a byte, (i * step + start) mod 256, divided by 127.5, less 1."
    " f16_error: the same numbers by the model in float16. hidden_states: the embeddings and what each layer gives, the last"
    " before the final norm. logits_per_image: CLIPModel's, of all images and texts of this file."
)


def generate(folder):
    disable_progress_bar()
    for name, variant in VARIANTS.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        write_variant(folder / name, variant)
        print(f"vision/{name}", flush=True)


def write_variant(folder, variant):
    for seed in range(1000):
        random_model(variant, seed).save_pretrained(folder, max_shard_size=variant.get("max_shard_size", "5GB"))
        tasks = {task: measure(folder, task, model) for task, model in TASKS[variant["model"]].items()}
        if is_telling(tasks):
            break
        shutil.rmtree(folder)
    else:
        raise SystemExit(f"{folder.name}: no seed gives answers that f16 can't change")
    golden = {"about": ABOUT, "seed": seed, "tasks": {task: [written(case) for case in tasks[task]] for task in tasks}}
    if variant["model"] is CLIPModel:
        golden |= similarities(folder, tasks)
    write_json(folder / "golden.json", golden)


def random_model(variant, seed):
    torch.manual_seed(seed)
    model = variant["model"](variant["config"]).eval()
    # What initialisation leaves at 0, 1 or next to nothing would hide a weight that is never read.
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.normal_(1, 0.2)
        elif name != "logit_scale":
            parameter.normal_(0, 0.2)
    return model.to(variant["dtype"])


def inputs_of(task, config):
    if task == "text-projection":
        ids = torch.randint(3, 97, (20,), generator=torch.Generator().manual_seed(7)).tolist()
        # The end, and padding that has the end's id; the end alone.
        texts = {"short": [97, *ids[:7], 98], "padded": [97, *ids[7:10], 98, 98, 98], "one": [98], "long": [97, *ids[:18], 98]}
        return [{"name": name, "input_ids": text} for name, text in texts.items()]
    side = config.image_size
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    dims = [config.num_channels, height, width]
    return [{"name": f"image-{step}", "dims": dims, "step": step, "start": step % 89} for step in (1, 37, 75, 101)]


def pixels(one):
    count = torch.arange(torch.tensor(one["dims"]).prod(), dtype=torch.float64)
    return (((count * one["step"] + one["start"]) % 256) / 127.5 - 1).float().reshape(one["dims"])


def run(model, one):
    if "input_ids" in one:
        inputs = {"input_ids": torch.tensor([one["input_ids"]])}
    else:
        inputs = {"pixel_values": pixels(one)[None].to(model.dtype)}
    outputs = dict(model(**inputs, output_hidden_states=True))
    hidden = outputs.pop("hidden_states")
    return {name: output[0].float() for name, output in outputs.items()}, [state[0] for state in hidden]


def measure(folder, task, model):
    full, half = (model.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval() for dtype in (F32, F16))
    cases = []
    inputs = inputs_of(task, full.config)
    for one in inputs:
        (outputs, hidden), (rough, rough_hidden) = run(full, one), run(half, one)
        count = len(outputs.get("last_hidden_state", []))
        rows = sorted({0, count // 4, count // 2, max(count - 1, 0)})

        def kept(named):
            return {name: out[rows] if name == "last_hidden_state" else out for name, out in named.items()}

        expected, got = kept(outputs), kept(rough)
        case = {"input": one, "positions": rows, "outputs": expected}
        case["f16_error"] = {name: error(got[name], expected[name]) for name in expected}
        if task != "image-classification" and one == inputs[0]:
            case["hidden_states"] = [state[rows] for state in hidden]
            pairs = zip(rough_hidden, hidden)
            case["f16_error"]["hidden_states"] = [error(rough[rows], state[rows]) for rough, state in pairs]
        cases.append(case)
    return cases


def is_telling(tasks):
    """Whether no class is one that rounding to f16 may change, and not all are the same."""
    answers = []
    for case in tasks.get("image-classification", []):
        best = case["outputs"]["logits"].topk(2)
        if best.values[0] - best.values[1] <= 3 * case["f16_error"]["logits"]["max_abs"]:
            return False
        answers.append(best.indices[0].item())
    return len(answers) == 0 or len(set(answers)) > 1


def similarities(folder, tasks):
    model = CLIPModel.from_pretrained(folder, dtype=F32).eval()
    texts = [case["input"]["input_ids"] for case in tasks["text-projection"]]
    width = max(map(len, texts))
    # Padding after the end changes nothing.
    ids = torch.tensor([text + [98] * (width - len(text)) for text in texts])
    images = torch.stack([pixels(case["input"]) for case in tasks["vision-projection"]])
    logits = model(input_ids=ids, pixel_values=images).logits_per_image
    return {"logit_scale": number(model.logit_scale), "logits_per_image": nested(logits)}


def written(case):
    entry = {key: line(value) if isinstance(value, list) else value for key, value in case["input"].items()}
    entry["positions"] = line(case["positions"])
    entry["outputs"] = {name: nested(output) for name, output in case["outputs"].items()}
    entry["f16_error"] = case["f16_error"]
    if "hidden_states" in case:
        entry["hidden_states"] = [nested(state) for state in case["hidden_states"]]
    return entry


def nested(tensor):
    return line(numbers(tensor)) if tensor.ndim == 1 else [nested(row) for row in tensor]
