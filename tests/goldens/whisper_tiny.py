"""The genuine Whisper tiny.en in float32 on a speech: features, greedy ids, texts and times, and how far f16 is off."""

import copy
import wave

import torch
from transformers import (
    AutomaticSpeechRecognitionPipeline,
    LogitsProcessorList,
    WhisperForConditionalGeneration,
    WhisperProcessor,
)
from transformers.utils.logging import disable_progress_bar

from measure import error, line, number, write_json

SPEECH = "jfk.wav"
# Where something is said, where the speech ends, and after it.
FRAMES = [40, 550, 1099, 2999]
# Known from elsewhere: what others' Whisper hears in this file.
KNOWN = "ask not what your country can do for you"
ABOUT = (
    "torch float32 on the genuine weights, the speech beside them. input_features: their shape, the mean of all, and the"
    " mels of a few frames. without_timestamps, with_timestamps: prompt, what the decoder begins with; greedy, the new ids,"
    " the end among them; result, what transformers' pipeline gives with num_beams=1. min_margin: the least by which a"
    " greedy id beat the second best of those that may be said there, more than twice the largest f16 error. f16_error:"
    " model.half() on the CPU against float32, over the logits of the whole vocabulary wherever an id is chosen; float16's"
    " choices are the same."
)


def generate(folder, repo):
    disable_progress_bar()
    processor = WhisperProcessor.from_pretrained(repo)
    model, info = WhisperForConditionalGeneration.from_pretrained(
        repo, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    if info["missing_keys"] or info["unexpected_keys"]:
        raise SystemExit(f"whisper_tiny: {info}")
    model.eval()
    half = WhisperForConditionalGeneration.from_pretrained(repo, dtype=torch.float16, attn_implementation="eager").eval()
    samples, rate = read_wav(repo / SPEECH)
    features = processor(samples.numpy(), sampling_rate=rate, return_tensors="pt").input_features
    pipe = AutomaticSpeechRecognitionPipeline(
        model=model, tokenizer=processor.tokenizer, feature_extractor=processor.feature_extractor
    )
    golden = {"model": repo.name, "about": ABOUT, "speech": SPEECH, "samples": len(samples)}
    golden["input_features"] = {
        "shape": line(list(features.shape)),
        "mean": round(features.double().mean().item(), 6),
        "frames": {at: line([round(value, 5) for value in features[0, :, at].tolist()]) for at in FRAMES},
    }
    for name, timestamps in (("without_timestamps", False), ("with_timestamps", True)):
        audio = {"raw": samples.numpy(), "sampling_rate": rate}
        # The pipeline's own choice is five beams.
        result = pipe(audio, return_timestamps=timestamps, generate_kwargs={"num_beams": 1})
        if KNOWN not in result["text"]:
            raise SystemExit(f"whisper_tiny heard {result['text']}")
        golden[name] = measure(model, half, features, timestamps) | {"result": result}
        if processor.decode(golden[name]["greedy"].values, skip_special_tokens=True) != result["text"]:
            raise SystemExit(f"whisper_tiny: the pipeline gives {result}")
        print(f"whisper_tiny {name}: {result}, margin {golden[name]['min_margin']}, {golden[name]['f16_error']}")
    write_json(folder / "whisper_tiny.json", golden)


def read_wav(path):
    """The samples of a WAV file of 16 bits, within ±1, and how many make a second."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise SystemExit(f"{path} isn't 16 bits of one channel")
        data = bytearray(file.readframes(file.getnframes()))
        return torch.frombuffer(data, dtype=torch.int16).float() / 32768, file.getframerate()


def measure(model, half, features, timestamps):
    config = model.generation_config
    prompt = [config.decoder_start_token_id] + ([] if timestamps else [config.no_timestamps_token_id])
    greedy = []
    exact, rough, margins = [], [], []
    chooser = rules(model, timestamps, len(prompt))
    encoded = model.get_encoder()(features)
    encoded_half = half.get_encoder()(features.half())
    while not greedy or greedy[-1] != config.eos_token_id:
        ids = torch.tensor([prompt + greedy])
        logits = model(encoder_outputs=encoded, decoder_input_ids=ids).logits[:, -1].float()
        logits_half = half(encoder_outputs=encoded_half, decoder_input_ids=ids).logits[:, -1].float()
        scores, scores_half = (chooser(ids, one.clone()) for one in (logits, logits_half))
        best = scores[0].topk(2)
        if scores_half.argmax() != best.indices[0]:
            raise SystemExit("whisper_tiny: float16 chooses another id")
        greedy.append(best.indices[0].item())
        margins.append((best.values[0] - best.values[1]).item())
        exact.append(logits)
        rough.append(logits_half)
    # generate() of Whisper keeps neither what it begins with nor the end.
    said = model.generate(features, return_timestamps=timestamps)[0].tolist()
    kept = [id for id in said if id not in (*prompt, config.eos_token_id)]
    if kept != greedy[:-1]:
        raise SystemExit(f"whisper_tiny: generate gives {said}, and {greedy}")
    off = error(torch.cat(rough), torch.cat(exact))
    if min(margins) <= 2 * off["max_abs"]:
        raise SystemExit(f"whisper_tiny: f16 is off by {off}, and the least margin is {min(margins)}")
    return {
        "prompt": line(prompt),
        "greedy": line(greedy),
        "min_margin": number(min(margins)),
        "f16_error": off,
    }


def rules(model, timestamps, begin):
    """What lets generate() say no more than is allowed."""
    config = copy.deepcopy(model.generation_config)
    config.return_timestamps, config.no_speech_threshold = timestamps, None
    found = model._retrieve_logit_processors(config, None, begin_index=begin, num_beams=1, device="cpu")
    return LogitsProcessorList(found)
