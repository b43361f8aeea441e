"""A tiny sentence-transformers model as EmbeddingGemma is made, and what sentence-transformers makes of texts with it.

Run with sentence-transformers installed: python tests/goldens/sentences.py
"""

import shutil
import tempfile
from pathlib import Path

import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Normalize, Pooling, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoModel, PreTrainedTokenizerFast

from measure import error, line, numbers, write_json

HERE = Path(__file__).parent
FOLDER = HERE / "sentences" / "gemma3"
WORDS = "task search result query title none text a the of river bread is baked once week in and where what how".split()
TEXTS = ["where is the bread baked", "the river", "a title of the text and what is the query of the week", "bread"]
PROMPTS = {"query": "task search result query ", "document": "title none text "}
CUT = 10
ABOUT = (
    "sentence-transformers, float32: embeddings of `texts` by encode, encode_query and encode_document, and by encode cut to"
    " `truncate_dim` and normalised. f16_error: encode's by the whole model in float16."
)


def tokenizer():
    vocabulary = {word: id for id, word in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", *WORDS])}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", vocabulary["<bos>"]), ("<eos>", vocabulary["<eos>"])]
    )
    special = dict(pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def model():
    """A transformer of encoders/, its tokens' mean, two linear layers, one with an activation, and a norm."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        AutoModel.from_pretrained(HERE / "encoders" / "gemma3-base", dtype=torch.float32).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        transformer = Transformer(folder, max_seq_length=12)
    width = transformer.get_embedding_dimension()
    modules = [
        transformer,
        Pooling(width, pooling_mode="mean"),
        Dense(width, 44, bias=False, activation_function=torch.nn.Identity()),
        Dense(44, 20, bias=True, activation_function=torch.nn.Tanh()),
        Normalize(),
    ]
    return SentenceTransformer(modules=modules, prompts=PROMPTS, device="cpu")


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    model().save_pretrained(str(FOLDER), create_model_card=False)
    exact = SentenceTransformer(str(FOLDER), device="cpu")
    rough = SentenceTransformer(str(FOLDER), device="cpu").half()

    def rows(embeddings):
        return [line(numbers(torch.tensor(row))) for row in embeddings]

    plain = exact.encode(TEXTS)
    golden = {
        "made_by": {"sentence-transformers": sentence_transformers.__version__, "torch": torch.__version__},
        "about": ABOUT,
        "texts": TEXTS,
        "truncate_dim": CUT,
        "encode": rows(plain),
        "encode_query": rows(exact.encode_query(TEXTS)),
        "encode_document": rows(exact.encode_document(TEXTS)),
        "truncated": rows(exact.encode(TEXTS, truncate_dim=CUT, normalize_embeddings=True)),
        "f16_error": error(torch.tensor(rough.encode(TEXTS)).float(), torch.tensor(plain)),
    }
    write_json(FOLDER / "golden.json", golden)


if __name__ == "__main__":
    main()
