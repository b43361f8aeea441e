"""What PIL makes of small images in other sizes, and what transformers' image processors make of them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import CLIPImageProcessorPil, ViTImageProcessorPil

from measure import line, number, write_json

HERE = Path(__file__).parent
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
ABOUT = (
    "Byte i of an image [height, width, channels] is (i * i * 7 + i * step) mod 256. resized: by PIL, as RGB. processed: pixel_values"
    " [3, height, width] of an image that was converted to RGB, by transformers' processors on PIL; `config` is what a repo's"
    " file says, and `model_type` its model's."
)

# Smaller and larger, both at once, one side alone, to a single pixel and from one.
RESIZED = [
    (23, 17, 9, 8), (11, 7, 19, 12), (13, 21, 29, 5), (10, 10, 10, 6), (8, 9, 17, 9), (12, 9, 1, 1), (1, 1, 5, 3),
    (64, 5, 3, 5),
]  # fmt: skip
FILTERS = {"lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}

HALVES = dict(image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5])
OPENAI = dict(
    image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711]
)  # fmt: skip
PROCESSED = [
    dict(
        image=(31, 22, 3), processor=ViTImageProcessorPil,
        config=dict(image_processor_type="ViTImageProcessor", size=dict(height=7, width=9), **HALVES),
    ),
    # As older files have it: a number for both sides.
    dict(
        image=(12, 40, 4), processor=ViTImageProcessorPil,
        config=dict(feature_extractor_type="ViTFeatureExtractor", size=8, resample=3, do_normalize=True),
    ),
    dict(image=(9, 9, 1), processor=ViTImageProcessorPil, model_type="vit", config=dict(size=6, do_rescale=False)),
    dict(
        image=(10, 8, 3), processor=ViTImageProcessorPil,
        config=dict(
            image_processor_type="ViTImageProcessorFast", do_resize=False, do_normalize=False, rescale_factor=0.01
        ),
    ),
    # The shorter side, and then the middle, an odd number of pixels away from the edges.
    dict(
        image=(37, 23, 3), processor=CLIPImageProcessorPil,
        config=dict(
            image_processor_type="CLIPImageProcessor", size=dict(shortest_edge=9),
            crop_size=dict(height=8, width=8), **OPENAI,
        ),
    ),
    dict(
        image=(20, 45, 2), processor=CLIPImageProcessorPil,
        config=dict(feature_extractor_type="CLIPFeatureExtractor", size=10, crop_size=7),
    ),
    # Larger than the image: black around it.
    dict(
        image=(11, 16, 3), processor=CLIPImageProcessorPil,
        config=dict(
            image_processor_type="CLIPImageProcessor", size=dict(shortest_edge=6), crop_size=dict(height=9, width=11),
            image_std=[0.5, 0.25, 0.125],
        ),
    ),
]  # fmt: skip


def main():
    golden = {"about": ABOUT, "resized": resized(), "processed": processed(), "defaults": defaults()}
    write_json(HERE / "images.json", golden)


def picture(width, height, channels, step):
    index = np.arange(width * height * channels, dtype=np.int64)
    data = ((index * index * 7 + index * step) % 256).astype(np.uint8)
    shape = (height, width) if channels == 1 else (height, width, channels)
    image = Image.fromarray(data.reshape(shape))
    if image.mode != MODES[channels]:
        raise SystemExit(f"an image of {channels} channels is {image.mode}")
    return image


def resized():
    cases = []
    for step, (width, height, to_width, to_height) in enumerate(RESIZED):
        for name, resample in FILTERS.items():
            image = picture(width, height, 3, step).resize((to_width, to_height), resample=resample)
            case = {"from": line([width, height]), "to": line([to_width, to_height]), "step": step, "filter": name}
            cases.append(case | {"resample": resample, "data": line(np.asarray(image).flatten().tolist())})
    return cases


def processed():
    cases = []
    for step, case in enumerate(PROCESSED):
        width, height, channels = case["image"]
        image = picture(width, height, channels, step).convert("RGB")
        config = {key: value for key, value in case["config"].items() if not key.endswith("_type")}
        values = case["processor"](**config)(image, return_tensors="np")["pixel_values"][0]
        cases.append(
            {
                "image": line([width, height, channels]),
                "step": step,
                "model_type": case.get("model_type", ""),
                "config": line(case["config"]),
                "dims": line(list(values.shape)),
                "pixel_values": line([number(value) for value in values.flatten()]),
            }
        )
    return cases


def defaults():
    """What a file says that holds every key, by the processors that transformers takes where nobody asks for PIL."""
    kept = ("do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor", "do_normalize")
    kept += ("image_mean", "image_std", "image_processor_type")
    names = {"ViTImageProcessor": ViTImageProcessorPil, "CLIPImageProcessor": CLIPImageProcessorPil}
    return {
        name: line({key: value for key, value in json.loads(processor().to_json_string()).items() if key in kept})
        for name, processor in names.items()
    }


if __name__ == "__main__":
    main()
