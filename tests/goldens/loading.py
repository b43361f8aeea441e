#!/usr/bin/env python3
"""Tiny checkpoints in every state that a repo is found in, and what transformers makes of each: loading.json.

Run as generate.py is, which says how. `loading/*/` are the repos, written by the genuine libraries.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.modeling_utils import PreTrainedModel

from measure import error, line, numbers, write_json

HERE = Path(__file__).parent
REPOS = HERE / "loading"
IDS = [5, 31, 2, 17, 11]

CONFIG = dict(
    vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
    num_key_value_heads=1, max_position_embeddings=64, initializer_range=0.2, rms_norm_eps=1e-5,
)  # fmt: skip


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    shutil.rmtree(REPOS, ignore_errors=True)
    write_repos()
    about = (
        "What from_pretrained gives for the repos in loading/: the loading info, or the error's first words; the output"
        " (logits, or the last hidden state) for input_ids in float32 where no weight is initialised anew, and the"
        " float16 model's error in it."
    )
    write_json(
        HERE / "loading.json",
        {
            "about": about,
            "input_ids": line(IDS),
            "cases": [measure(*case) for case in CASES],
            "keys": keys(),
        },
    )


# repo, class, options
CASES = [
    ("causal", "AutoModelForCausalLM", {}),
    ("causal", "AutoModel", {}),
    ("causal", "AutoModelForCausalLM", {"dtype": "auto"}),
    ("causal", "AutoModelForCausalLM", {"vocab_size": 44}),
    ("causal", "AutoModelForCausalLM", {"vocab_size": 44, "ignore_mismatched_sizes": True}),
    ("causal", "AutoModelForCausalLM", {"num_hidden_layers": 2}),
    ("causal", "AutoModelForCausalLM", {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}),
    ("causal", "AutoModelForCausalLM", {"rms_norm_eps": 0.5}),
    ("causal", "AutoModelForCausalLM", {"tie_word_embeddings": True}),
    ("causal", "AutoModelForCausalLM", {"use_safetensors": True}),
    ("causal", "AutoModelForCausalLM", {"use_safetensors": False}),
    ("causal", "AutoModelForCausalLM", {"variant": "fp16"}),
    ("causal", "AutoModelForCausalLM", {"variant": "bf16"}),
    ("causal", "AutoModelForCausalLM", {"subfolder": "sub"}),
    ("causal", "AutoModelForCausalLM", {"subfolder": "nothing"}),
    ("base-sharded", "AutoModel", {}),
    ("base-sharded", "AutoModelForCausalLM", {}),
    ("more-keys", "AutoModelForCausalLM", {}),
    ("more-keys", "AutoModel", {}),
    ("tied", "AutoModelForCausalLM", {}),
    ("tied", "AutoModel", {}),
    ("tied-head-only", "AutoModelForCausalLM", {}),
    ("tied-neither", "AutoModelForCausalLM", {}),
    ("tied-both-differ", "AutoModelForCausalLM", {}),
    ("half-missing", "AutoModelForCausalLM", {"dtype": "auto"}),
    ("bin", "AutoModelForCausalLM", {}),
    ("bin", "AutoModel", {}),
    ("bin", "AutoModelForCausalLM", {"use_safetensors": True}),
    ("bin", "AutoModelForCausalLM", {"variant": "fp16"}),
    ("bin-sharded", "AutoModelForCausalLM", {}),
    ("bin-sharded", "AutoModelForCausalLM", {"use_safetensors": False}),
    ("bin-tied", "AutoModelForCausalLM", {}),
    ("both", "AutoModelForCausalLM", {}),
    ("both", "AutoModelForCausalLM", {"use_safetensors": False}),
    ("variant-sharded", "AutoModelForCausalLM", {"variant": "fp16"}),
    ("variant-sharded", "AutoModelForCausalLM", {}),
    ("no-weights", "AutoModelForCausalLM", {}),
    ("no-weights", "AutoModelForCausalLM", {"use_safetensors": True}),
    ("gpt2", "AutoModelForCausalLM", {}),
    ("gpt2", "AutoModel", {}),
    ("gpt2", "AutoModelForCausalLM", {"n_embd": 8, "ignore_mismatched_sizes": True}),
    ("gpt2", "AutoModelForCausalLM", {"num_hidden_layers": 2}),
    ("gpt_neox", "AutoModelForCausalLM", {}),
    ("gpt_neox", "AutoModel", {}),
    ("gpt_neox", "AutoModelForCausalLM", {"num_hidden_layers": 2}),
]


def write_repos():
    causal = model(0)
    causal.save_pretrained(REPOS / "causal")
    causal.save_pretrained(REPOS / "causal/sub")
    model(1).half().save_pretrained(REPOS / "causal", variant="fp16")
    config_only("causal", causal.config)  # the half one's says float16

    model(2).model.save_pretrained(REPOS / "base-sharded", max_shard_size="4KB")

    more = state(model(3))
    more["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    more["model.layers.0.self_attn.extra.weight"] = torch.ones(2, 3)
    more["classifier.bias"] = torch.ones(3)
    safetensors("more-keys", more)

    tied = model(4, tie_word_embeddings=True)
    tied.save_pretrained(REPOS / "tied")
    own = state(model(5))
    embedding, head = "model.embed_tokens.weight", "lm_head.weight"
    without = lambda *names: {name: tensor for name, tensor in own.items() if name not in names}
    safetensors("tied-head-only", without(embedding), tie_word_embeddings=True)
    safetensors("tied-neither", without(embedding, head), tie_word_embeddings=True)
    safetensors("tied-both-differ", own, tie_word_embeddings=True)

    half = {name: tensor.half() for name, tensor in state(model(6)).items() if "layers.0.mlp" not in name}
    safetensors("half-missing", half)
    unsaid = json.loads((REPOS / "half-missing/config.json").read_text())
    del unsaid["dtype"]
    (REPOS / "half-missing/config.json").write_text(json.dumps(unsaid, indent=2, sort_keys=True) + "\n")

    config_only("bin", causal.config)
    torch.save(model(7).state_dict(), REPOS / "bin/pytorch_model.bin")
    # Shared storage, as transformers 4 left it in a .bin.
    config_only("bin-tied", tied.config)
    torch.save(model(8, tie_word_embeddings=True).state_dict(), REPOS / "bin-tied/pytorch_model.bin")
    config_only("bin-sharded", causal.config)
    shards = [{}, {}, {}]
    for i, (name, tensor) in enumerate(state(model(9)).items()):
        shards[i * 3 // 12][name] = tensor
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"pytorch_model-{i + 1:05}-of-00003.bin"
        torch.save(shard, REPOS / "bin-sharded" / file)
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (REPOS / "bin-sharded/pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")

    model(10).save_pretrained(REPOS / "both")
    torch.save(model(11).state_dict(), REPOS / "both/pytorch_model.bin")

    model(12).half().save_pretrained(REPOS / "variant-sharded", variant="fp16", max_shard_size="4KB")
    config_only("no-weights", causal.config)

    # As the first of each were saved: without the base's name, or with the head's old one, with masks; a weight that is
    # a view of its transpose.
    gpt2 = of_family("gpt2", 13, vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=24)
    own = {name.removeprefix("transformer."): tensor for name, tensor in state(gpt2).items() if "lm_head" not in name}
    own["h.0.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
    own["h.0.mlp.c_fc.weight"] = own["h.0.mlp.c_fc.weight"].t().contiguous().t()
    torch.save(own, REPOS / "gpt2/pytorch_model.bin")
    neox = of_family(
        "gpt_neox", 14, vocab_size=40, hidden_size=32, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    own = {name.replace("lm_head", "embed_out"): tensor for name, tensor in state(neox).items()}
    own["gpt_neox.layers.0.attention.bias"] = torch.ones(1, 1, 8, 8).tril().bool()
    own["gpt_neox.layers.0.attention.masked_bias"] = torch.tensor(-1e9)
    own["gpt_neox.layers.0.attention.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(own, REPOS / "gpt_neox/model.safetensors", metadata={"format": "pt"})
    for unused in REPOS.glob("**/generation_config.json"):
        unused.unlink()


def model(seed, **changes):
    torch.manual_seed(seed)
    made = LlamaForCausalLM(LlamaConfig(**(CONFIG | {"tie_word_embeddings": False} | changes))).eval()
    for name, parameter in made.named_parameters():
        if "norm" in name:
            parameter.normal_(1, 0.2)
    return made


def of_family(model_type, seed, **config):
    """A model whose config is in the repo of its name."""
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, initializer_range=0.2, **config)).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(0, 0.2)
        elif "norm" in name or "ln_" in name:
            parameter.normal_(1, 0.2)
    made.config.save_pretrained(REPOS / model_type)
    return made


def state(made):
    return {name: tensor.clone() for name, tensor in made.state_dict().items()}


def config_only(repo, config):
    config.dtype = "float32"
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(REPOS / repo)


def safetensors(repo, tensors, **changes):
    config_only(repo, LlamaConfig(**(CONFIG | {"tie_word_embeddings": False} | changes)))
    save_file(tensors, REPOS / repo / "model.safetensors", metadata={"format": "pt"})


def measure(repo, cls, options):
    case = {"repo": repo, "class": cls, "options": options}
    load = lambda dtype: {"AutoModel": AutoModel, "AutoModelForCausalLM": AutoModelForCausalLM}[cls].from_pretrained(
        REPOS / repo, output_loading_info=True, **({"dtype": dtype} | options)
    )
    try:
        loaded, info = load("float32")
    except (OSError, RuntimeError, ValueError) as e:
        return case | {"error": str(e).replace(str(REPOS / repo), "REPO").split(" For details")[0]}
    case["loading_info"] = {
        "missing_keys": sorted(info["missing_keys"]),
        "unexpected_keys": sorted(info["unexpected_keys"]),
        "mismatched_keys": sorted([name, line(list(found)), line(list(own))] for name, found, own in info["mismatched_keys"]),
        "error_msgs": info["error_msgs"],
    }
    case["dtype"] = str(loaded.dtype).removeprefix("torch.")
    case["class_name"] = type(loaded).__name__
    if not info["missing_keys"] and not info["mismatched_keys"]:
        exact = output_of(loaded.float())
        half = output_of(loaded.half())
        case["output"] = [line(numbers(row)) for row in exact]
        case["f16_error"] = error(half, exact)
    return case


def output_of(loaded: PreTrainedModel):
    out = loaded(torch.tensor([IDS]))
    return (out.logits if "logits" in out else out.last_hidden_state)[0].float()


def keys():
    """Names alone, of a family that Layerline doesn't run, whose checkpoints are older than today's names."""
    config = BertConfig(
        vocab_size=7, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4,
        max_position_embeddings=8,
    )  # fmt: skip
    masked = BertForMaskedLM(config)
    own = state(masked)
    legacy = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in own.items()
    }
    legacy["bert.embeddings.position_ids"] = torch.arange(8)[None]
    legacy["cls.seq_relationship.weight"] = torch.ones(2, 4)
    bare = {name.removeprefix("bert."): tensor for name, tensor in legacy.items() if name.startswith("bert.")}
    untied = {name: tensor for name, tensor in own.items() if not name.startswith("cls.predictions.decoder")}
    return [
        match(cls, config, tensors)
        for cls in (BertForMaskedLM, BertModel)
        for tensors in (own, legacy, bare, untied, {})
    ]


def match(cls, config, tensors):
    loaded, info = cls.from_pretrained(None, config=config, state_dict=tensors, output_loading_info=True)
    return {
        "class_name": cls.__name__,
        "model": {name: line(list(tensor.shape)) for name, tensor in loaded.state_dict().items()},
        "tied": sorted(loaded.all_tied_weights_keys.items()),
        "checkpoint": {name: line(list(tensor.shape)) for name, tensor in tensors.items()},
        "missing_keys": sorted(info["missing_keys"]),
        "unexpected_keys": sorted(info["unexpected_keys"]),
    }


if __name__ == "__main__":
    main()
