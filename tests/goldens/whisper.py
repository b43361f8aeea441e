"""Writes whisper.json: how transformers chooses, begins, merges and reads Whisper's tokens.

Made-up tokens, transformers' own code. Run with torch and transformers installed: python tests/goldens/whisper.py
"""

import copy
import random
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)
from transformers.models.whisper.generation_whisper import WhisperGenerationMixin
from transformers.models.whisper.tokenization_whisper import (
    WhisperTokenizer,
    _decode_asr,
    _find_longest_common_sequence,
)
from transformers.pipelines.automatic_speech_recognition import chunk_iter

from measure import line, write_json

WORDS = 40
SPECIAL = [
    "endoftext", "startoftranscript", "en", "fr", "de", "translate", "transcribe", "startofprev", "nospeech",
    "notimestamps",
]  # fmt: skip
IDS = {f"<|{name}|>": WORDS + at for at, name in enumerate(SPECIAL)}
EOS, NO_TIMESTAMPS = IDS["<|endoftext|>"], IDS["<|notimestamps|>"]
TIMESTAMPS = NO_TIMESTAMPS + 1
# As many seconds as 20 timestamps.
VOCAB = TIMESTAMPS + 20
RATE = 16_000

ABOUT = (
    f"The ids 0 to {WORDS - 1} are words, each ' w' and its id; then come {list(IDS)}, then timestamps of 0.02 s each."
    " masked: the ids whose score becomes minus infinity; all others keep theirs."
)


def processors():
    generator = torch.Generator().manual_seed(0)

    def ts(at):
        return TIMESTAMPS + at

    texts = [
        [], [5], [ts(0)], [ts(3)], [ts(0), 7], [ts(2), 7, 8], [ts(2), 7, ts(5)], [ts(2), 7, ts(5), ts(5)],
        [ts(2), ts(4)], [ts(2), 7, ts(5), ts(5), 9, 9], [ts(2), 7, ts(5), ts(6), 9, ts(19)], [7, ts(3)], [7, ts(3), 4],
    ]  # fmt: skip
    cases = []
    for timestamps, initial in ((False, None), (True, None), (True, 4), (True, 0), (True, 100)):
        for text in texts:
            for louder in (-2.0, 0.0) if timestamps else (0.0,):
                scores = torch.randn(VOCAB, generator=generator) * 2
                scores[TIMESTAMPS:] += louder
                scores = torch.tensor([float(f"{score:.3f}") for score in scores.tolist()])
                cases.append(processed(text, scores, timestamps, initial))
    return cases


def processed(text, scores, timestamps, initial):
    prompt = [IDS["<|startoftranscript|>"], IDS["<|en|>"], IDS["<|transcribe|>"]]
    config = SimpleNamespace(
        return_timestamps=timestamps, no_timestamps_token_id=NO_TIMESTAMPS, eos_token_id=EOS, bos_token_id=EOS,
        suppress_tokens=[1, 2, 8, IDS["<|nospeech|>"]], begin_suppress_tokens=[3, EOS], no_speech_threshold=None,
        max_initial_timestamp_index=initial,
    )  # fmt: skip
    described = {
        "suppress_tokens": line(config.suppress_tokens),
        "begin_suppress_tokens": line(config.begin_suppress_tokens),
        "timestamps": timestamps,
        "max_initial_timestamp_index": initial,
        "new_ids": line(text),
        "scores": line([float(f"{score:.3f}") for score in scores.tolist()]),
    }
    rules = WhisperGenerationMixin._retrieve_logit_processors(
        None, config, None, begin_index=len(prompt), num_beams=1, device="cpu"
    )
    kinds = {SuppressTokensAtBeginLogitsProcessor, SuppressTokensLogitsProcessor}
    if {type(rule) for rule in rules} != kinds | ({WhisperTimeStampLogitsProcessor} if timestamps else set()):
        raise SystemExit(f"other processors: {rules}")
    found = LogitsProcessorList(rules)(torch.tensor([prompt + text]), scores[None].clone())[0]
    masked = [at for at in range(VOCAB) if found[at] == float("-inf")]
    if any(found[at] != scores[at] for at in range(VOCAB) if at not in masked):
        raise SystemExit("a score is changed")
    return described | {"masked": line(masked)}


def beginnings():
    many = dict(
        is_multilingual=True, decoder_start_token_id=IDS["<|startoftranscript|>"], no_timestamps_token_id=NO_TIMESTAMPS,
        lang_to_id={f"<|{code}|>": IDS[f"<|{code}|>"] for code in ("en", "fr", "de")},
        task_to_id={task: IDS[f"<|{task}|>"] for task in ("translate", "transcribe")},
    )  # fmt: skip
    # As the English-only checkpoints have it.
    english = dict(
        is_multilingual=False, decoder_start_token_id=IDS["<|startoftranscript|>"],
        no_timestamps_token_id=NO_TIMESTAMPS, forced_decoder_ids=[[1, NO_TIMESTAMPS]],
    )  # fmt: skip
    older = many | dict(forced_decoder_ids=[[1, None], [2, IDS["<|transcribe|>"]]])
    oldest = dict(decoder_start_token_id=3)
    cases = [
        (many, dict(language="en")), (many, dict(language="French")), (many, dict(language="<|de|>")),
        (many, dict(language="fr", task="translate")), (many, dict(language="fr", task="transcribe")),
        (many, dict(language="de", return_timestamps=True)), (older, dict(language="en")),
        (older, dict(language="de", task="translate", return_timestamps=True)), (english, dict()),
        (english, dict(return_timestamps=True)), (oldest, dict()),
    ]  # fmt: skip
    return [
        {"config": config, "options": options, "ids": line(beginning(copy.deepcopy(config), options))}
        for config, options in cases
    ]


def beginning(config, options):
    config = SimpleNamespace(**({"return_timestamps": False} | config | options))
    model = SimpleNamespace(device="cpu")
    found = WhisperGenerationMixin._retrieve_init_tokens(model, None, 1, config, SimpleNamespace(), 0, {})
    return found[0].tolist()


def chunks():
    class Audio:
        def __init__(self, start, length):
            self.start, self.shape = start, (length,)

        def __getitem__(self, at):
            if isinstance(at, slice):
                stop = min(at.stop, self.shape[0])
                return Audio(self.start + at.start, max(0, stop - at.start))
            return self.start

    def extract(chunk, **_):
        return {"first": chunk[0]}

    extract.sampling_rate = RATE
    cases = []
    for length, chunk, stride in (
        (100_000, 30, None), (480_000, 30, None), (480_001, 30, None), (1_500_000, 30, None), (1_500_000, 30, 5),
        (1_500_000, 20.5, [4, 2]), (700_000, 10, [0, 3]), (700_000, 10.00004, [1.23456, 0]), (500_000, 29, 0),
        (800_000, 30, [10, 10]),
        # Halves of samples.
        (400_000, 10.00003125, [0.00009375, 0.00003125]),
    ):  # fmt: skip
        left, right = stride if isinstance(stride, list) else [chunk / 6 if stride is None else stride] * 2
        counts = [int(round(seconds * RATE)) for seconds in (chunk, left, right)]
        found = [[item["first"], *item["stride"]] for item in chunk_iter(Audio(0, length), extract, *counts)]
        lengths = {"samples": length, "chunk_length_s": chunk, "stride_length_s": stride}
        cases.append(lengths | {"chunks": [line(one) for one in found]})
    return cases


def overlapping(rng, count):
    """Windows of one text that overlap by some words, of which now and then one is wrong."""
    text = [rng.randrange(WORDS) for _ in range(8 * count + 4)]
    windows = []
    for at in range(count):
        start = max(0, 8 * at - rng.randrange(4))
        window = text[start : 8 * at + 8 + rng.randrange(5)]
        windows.append([word if rng.random() < 0.85 else rng.randrange(WORDS) for word in window])
    return windows


def common_sequences():
    rng = random.Random(1)
    fixed = [[[1, 2, 3]], [[1, 2, 3], []], [[], [1, 2]], [[1, 2, 3, 4], [3, 4, 5]], [[1], [1]], [[1, 2], [3, 4], [5]]]
    cases = fixed + [overlapping(rng, rng.randint(2, 4)) for _ in range(30)]
    merged = [[int(id) for id in _find_longest_common_sequence(case)] for case in cases]
    return [{"sequences": [line(one) for one in case], "merged": line(ids)} for case, ids in zip(cases, merged)]


class Tokenizer:
    all_special_ids = list(IDS.values())

    def convert_tokens_to_ids(self, token):
        return IDS[token]

    def decode(self, ids):
        names = {id: token for token, id in IDS.items()}
        return "".join(names.get(id, f" w{id}") for id in ids)

    _strip_prompt = WhisperTokenizer._strip_prompt


def ts(seconds):
    return TIMESTAMPS + round(seconds / 0.02)


def decoded():
    start = [IDS["<|startoftranscript|>"], IDS["<|en|>"], IDS["<|transcribe|>"]]
    french = [IDS["<|startoftranscript|>"], IDS["<|fr|>"], IDS["<|transcribe|>"]]
    plain = {"return_timestamps": False, "return_language": False}
    timed = {"return_timestamps": True, "return_language": False}
    spoken = {"return_timestamps": True, "return_language": True}
    first, second = [ts(0), 1, 2, ts(2.5), ts(2.5), 3, 4, 5, ts(6)], [ts(0), 6, ts(4.2), ts(4.5), 7, 8, ts(29.9)]
    cases = [
        ("nothing", plain, [([], None)]),
        ("one", plain, [(start + [NO_TIMESTAMPS, 1, 2, 3, EOS], None)]),
        ("one, timed", timed, [(start + first + [EOS], None)]),
        ("one, without its beginning", timed, [(first, None)]),
        ("no end", timed, [(start + first + [ts(6), 9, 10, EOS], None)]),
        ("no beginning", timed, [([1, 2, ts(3), 4, ts(5)], None)]),
        ("the same time twice", timed, [([ts(1), ts(1), 4, 5, ts(3)], None)]),
        ("segments that begin anew", timed, [(first + second + [ts(0), 9, ts(3)], None)]),
        ("segments with a single end", timed, [([ts(0), 1, ts(5), 2, ts(28), ts(0), 3, ts(4)], None)]),
        ("a prompt", timed, [([IDS["<|startofprev|>"], 30, 31] + start + first, None)]),
        ("a prompt and nothing else", timed, [([IDS["<|startofprev|>"], 30, 31], None)]),
        ("two chunks", plain, [(start + [1, 2, 3, 4, 5], (30, 0, 5)), (start + [3, 4, 5, 6, 7], (18, 5, 0))]),
        ("two chunks, timed", timed, [
            ([ts(0), 1, 2, ts(10), ts(10), 3, 4, ts(24), ts(24), 5, 6, 7, ts(30)], (30, 0, 5)),
            ([ts(0), 4, ts(4), ts(4), 5, 6, 7, ts(10), ts(10), 8, ts(18)], (20, 5, 0)),
        ]),
        ("three chunks, one of them silent", timed, [
            ([ts(0), 1, 2, ts(10)], (30, 0, 5)), ([EOS], (30, 5, 5)), ([ts(1), 5, ts(14)], (22, 5, 0)),
        ]),
        ("a beginning that nothing follows", timed, [([ts(2)], (30, 0, 0)), ([ts(8), 5, ts(14)], (22, 0, 0))]),
        ("pairs that begin anew", timed, [([ts(0), 1, ts(8), ts(8), 2, ts(9), ts(10), ts(2), ts(1), 3, ts(4)], None)]),
        ("languages", spoken, [(start + first, (30, 0, 5)), (french + second, (30, 5, 0))]),
        ("languages without times", plain | {"return_language": True},
         [(start + [1, 2], (30, 0, 0)), (french + [5, 6, 7], (30, 0, 0))]),
    ]  # fmt: skip
    rng = random.Random(2)
    for at in range(60):
        options = {"return_timestamps": rng.random() < 0.8, "return_language": rng.random() < 0.3}
        count = rng.randint(1, 4)
        windows = overlapping(rng, count)
        outputs = []
        for index, window in enumerate(windows):
            stride = (30, 5 if index else 0, 5 if index < count - 1 else 0)
            prefix = rng.choice([[], start, french])
            outputs.append((prefix + (timed_text(rng, window) if options["return_timestamps"] else window), stride))
        cases.append((f"random {at}", options, outputs))
    return [asr(*one) for one in cases]


def timed_text(rng, words):
    """Words between times that grow, as Whisper writes them, with a mistake now and then."""
    time, text = rng.choice([0, 0, 0.5]), []
    words = list(words)
    while words:
        end = round(min(30, time + rng.uniform(0.5, 14)), 2)
        count = rng.randint(1, 4)
        text += [ts(time), *words[:count], ts(end)]
        words = words[count:]
        time = end if rng.random() < 0.7 else round(min(30, end + rng.uniform(0, 2)), 2)
        if rng.random() < 0.1:
            text.pop()
        if rng.random() < 0.07:
            time = 0
    return text


def asr(name, options, outputs):
    given = [
        {"tokens": torch.tensor([tokens], dtype=torch.long)} | ({"stride": stride} if stride else {})
        for tokens, stride in outputs
    ]
    text, more = _decode_asr(Tokenizer(), given, time_precision=0.02, **options)
    return {
        "name": name,
        "options": options,
        "outputs": [{"tokens": line(tokens), "stride": stride and line(list(stride))} for tokens, stride in outputs],
        "expected": {"text": text, **more},
    }


def main():
    torch.set_num_threads(1)
    golden = {
        "about": ABOUT,
        "transformers": transformers.__version__,
        "ids": IDS,
        "processors": processors(),
        "beginnings": beginnings(),
        "chunks": chunks(),
        "common_sequences": common_sequences(),
        "decoded": decoded(),
    }
    write_json(Path(__file__).parent / "whisper.json", golden)


if __name__ == "__main__":
    main()
