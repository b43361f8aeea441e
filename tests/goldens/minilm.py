"""Embeddings by the genuine all-MiniLM-L6-v2 in float32: mean pooling, then normalisation, as its modules.json says."""

import json

import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from measure import error, line, number, write_json

SENTENCES = {
    "food": "A man is eating food.",
    "bread": "A man is eating a piece of bread.",
    "baby": "The girl is carrying a baby.",
    "empty": "",
    "word": "Hi",
    "question": "How do I bake sourdough bread at home?",
    "not-ascii": "Die Katze schläft — 猫がソファで寝ている。 Ça va? Ωμέγα, naïve coöperation, 🐈!",
    # More than the 128 tokens at which tokenizer.json would cut, and which it would pad others to.
    "long": (
        "The bread of the valley was baked once a week, in an oven that stood between the church and the well and that"
        " belonged to nobody. On Friday evening the men carried wood; before sunrise the women brought their dough in"
        " cloths, each marked with a thread of another colour, and the children were sent to count the loaves. Whoever"
        " was late found the stones cold. In winter, when snow closed the road to the mill, rye was mixed with chestnut"
        " flour, and the old people said that it tasted of smoke and of the years of the war. A loaf was never cut"
        " before the next day, and what was left of it on Thursday went into the soup with onions, marrow and whatever"
        " cheese had become too hard to be eaten otherwise."
    ),
    # More than the 256 tokens at which sentence_bert_config.json cuts.
    "cut": "A wasm module has no threads of its own; the page lends it a worker. " * 20,
}
# As measured by others who ran the same weights.
KNOWN = [("food", "bread", 0.7553), ("food", "baby", -0.105)]
DIGITS = 6
ABOUT = (
    "torch float32 on the genuine weights. input_ids: the text's, cut at max_seq_length of sentence_bert_config.json; not"
    " padded, all of them attended to. embedding: the mean of last_hidden_state over the tokens, divided by its norm,"
    " to six digits after the point. f16_error: the embedding by model.half() (pooled in float32) against it. cosines: of"
    " each embedding with each, in the order of sentences; cosines_f16_error: theirs, by model.half(). batch: all"
    " sentences at once, padded on the right with a mask, give the same embeddings, max_difference at most."
)


def generate(folder, repo):
    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(repo)
    model = AutoModel.from_pretrained(repo, dtype=torch.float32, attn_implementation="eager").eval()
    half = AutoModel.from_pretrained(repo, dtype=torch.float32, attn_implementation="eager").eval().half()
    longest = json.loads((repo / "sentence_bert_config.json").read_text())["max_seq_length"]
    ids = {name: tokenizer(text, truncation=True, max_length=longest).input_ids for name, text in SENTENCES.items()}

    exact, rough = (torch.cat([embed(one, [row]) for row in ids.values()]) for one in (model, half))
    difference = (embed(model, list(ids.values()), model.config.pad_token_id) - exact).abs().max().item()
    if difference > 1e-6:
        raise SystemExit(f"minilm: the batch differs by {difference}")
    cosines, rough_cosines = exact @ exact.T, rough @ rough.T
    names = list(ids)
    for one, other, known in KNOWN:
        cosine = cosines[names.index(one), names.index(other)].item()
        if abs(cosine - known) > 1e-4:
            raise SystemExit(f"minilm: the cosine of {one} and {other} is {cosine}, not {known}")

    sentences = [
        {
            "name": name,
            "text": SENTENCES[name],
            "input_ids": line(ids[name]),
            "embedding": line(rounded(exact[i])),
            "f16_error": error(rough[i], exact[i]),
        }
        for i, name in enumerate(names)
    ]
    for one in sentences:
        print(f"minilm {one['name']}: {len(one['input_ids'].values)} ids, f16 error {one['f16_error']['max_abs']:.2g}")
    golden = {"model": repo.name, "about": ABOUT, "sentences": sentences}
    golden["cosines"] = [line(rounded(row)) for row in cosines]
    golden["cosines_f16_error"] = error(rough_cosines, cosines)
    golden["batch"] = {"max_difference": number(difference)}
    write_json(folder / "minilm.json", golden)


def embed(model, rows, padding=0):
    """[len(rows), hidden] in float32, each of length 1."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [padding] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    weights = mask[..., None].float()
    return torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)


def rounded(tensor):
    return [round(value, DIGITS) + 0.0 for value in tensor.tolist()]
