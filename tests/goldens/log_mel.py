"""Writes log_mel.json: what transformers' WhisperFeatureExtractor makes of signals that the test makes itself.

Run with torch and transformers installed: python tests/goldens/log_mel.py
"""

import math
from pathlib import Path

import numpy
import torch
import transformers
from transformers import WhisperFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from measure import line, number, numbers, write_json

SECOND = 16_000

SMALL = dict(feature_size=20, chunk_length=1)
CASES = [
    ("a second of a sweep", {}, dict(kind="sweep", samples=SECOND)),
    ("exactly 30 seconds of noise", {}, dict(kind="noise", samples=30 * SECOND, seed=1)),
    ("longer than that, of which the rest is cut", {}, dict(kind="noise", samples=30 * SECOND + 12_345, seed=2)),
    ("silence", {}, dict(kind="silence", samples=SECOND)),
    ("128 bands", dict(feature_size=128), dict(kind="sweep", samples=3 * SECOND + 7)),
    ("a second that is full", SMALL, dict(kind="noise", samples=SECOND, seed=3)),
    ("a few samples", SMALL, dict(kind="noise", samples=100, seed=4)),
    ("one sample", SMALL, dict(kind="noise", samples=1, seed=5)),
    ("none", SMALL, dict(kind="silence", samples=0)),
    ("another transform", SMALL | dict(n_fft=250, hop_length=100), dict(kind="sweep", samples=SECOND // 2)),
    ("an odd one", SMALL | dict(n_fft=225, hop_length=75), dict(kind="noise", samples=SECOND, seed=6)),
    ("a rate and a padding of its own", SMALL | dict(sampling_rate=22_050, padding_value=0.25),
     dict(kind="sweep", samples=9_000)),
]  # fmt: skip

ABOUT = (
    "Of each spectrogram: whole frames, and the sum of each band over all frames. By transformers' NumPy code, in"
    " float64; torch_error is how far its torch code, in float32, is from it at most. noise: s = s * 1664525 + 1013904223 (mod"
    " 2**32) from the seed on, (s >> 8) / 2**24 - 0.5 after each. sweep: 0.6 sin(2 pi (100 t + 3450 t**2 / T)) for t"
    " seconds of T."
)


def signal(kind, samples, rate, seed=0):
    if kind == "silence":
        return numpy.zeros(samples, numpy.float32)
    if kind == "sweep":
        seconds, whole = numpy.arange(samples) / rate, samples / rate
        wave = 0.6 * numpy.sin(2 * math.pi * (100 * seconds + 3450 * seconds**2 / whole))
        return wave.astype(numpy.float32)
    values = []
    for _ in range(samples):
        seed = (seed * 1664525 + 1013904223) % 2**32
        values.append((seed >> 8) / 2**24 - 0.5)
    return numpy.array(values, numpy.float32)


def case(name, options, described):
    extractor = WhisperFeatureExtractor(**options)
    rate = extractor.sampling_rate
    samples = signal(rate=rate, **described)
    by_torch = extractor(samples, sampling_rate=rate, return_tensors="np")["input_features"][0]
    padded = extractor.pad(
        BatchFeature({"input_features": [samples[:, None]]}), padding="max_length", max_length=extractor.n_samples,
        truncation=True,
    )["input_features"]  # fmt: skip
    features = extractor._np_extract_fbank_features(numpy.asarray(padded)[0].T, "cpu")[0]
    if features.shape != by_torch.shape:
        raise SystemExit(f"{name}: {features.shape} and {by_torch.shape}")

    count = features.shape[1]
    heard = min(len(samples) // extractor.hop_length, count - 1)
    kept = sorted({0, heard // 2, heard, min(heard + 1, count - 1), count - 1})
    return {
        "name": name,
        "config": options,
        "signal": described,
        "shape": line(list(features.shape)),
        "frames": {str(at): line(numbers(features[:, at])) for at in kept},
        "sums": line([number(total) for total in features.astype(numpy.float64).sum(1)]),
        "torch_error": number(numpy.abs(features - by_torch).max()),
    }


def main():
    torch.set_num_threads(1)
    golden = {"about": ABOUT, "transformers": transformers.__version__, "cases": [case(*one) for one in CASES]}
    write_json(Path(__file__).parent / "log_mel.json", golden)


if __name__ == "__main__":
    main()
