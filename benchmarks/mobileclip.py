"""Make a MobileCLIP-S2 of random weights, and the vectors that OpenCLIP itself computes of pictures, crops and texts.

    python benchmarks/mobileclip.py TOKENIZER PICTURES OUT

In a process of its own, as tests/openclip_reference.py, whose functions it takes. OUT gets ``model/`` and
``truth.npz``: for each picture of PICTURES (a .npz of arrays) the vector of the whole, and of its four quarters.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

TEXTS = ("a photo of a red mug", "two dogs on a beach", "un chat noir", "")
NAME = "MobileCLIP-S2"


def quarters(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes (x, y, w, h) of a picture of (width, height)."""
    w, h = size[0] // 2, size[1] // 2
    return [(x, y, w, h) for y in (0, h) for x in (0, w)]


def main(tokenizer: Path, pictures: Path, out: Path) -> None:
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    import openclip_reference as reference
    import torch
    from open_clip import get_model_config
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image
    from tokenizers import Tokenizer

    from datumaro_clip.model.directory import Origin
    from datumaro_clip.model.making.openclip import export_openclip

    steps = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "resize_mode": "shortest"}
    reference.STEPS = steps
    config = get_model_config(NAME)
    config["vision_cfg"] = {**config["vision_cfg"], "timm_model_pretrained": False}
    config["text_cfg"] = {key: value for key, value in config["text_cfg"].items() if not key.startswith("hf_")}
    model = reference.random_model(config)
    folder = out / "checkpoint"
    folder.mkdir(parents=True)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    reference.write_checkpoint(model, config, folder)
    export_openclip(folder, out / "model", Origin(f"random/{NAME}", "openclip"))
    prepare = image_transform_v2(PreprocessCfg(size=config["vision_cfg"]["image_size"], **steps), is_train=False)

    def embedded(parts: list[Image.Image]) -> np.ndarray:
        with torch.no_grad():
            return model.encode_image(torch.stack([prepare(part) for part in parts]), normalize=True).numpy()

    shown = [Image.fromarray(pixels) for pixels in np.load(pictures).values()]
    crops = [[whole.crop((x, y, x + w, y + h)) for x, y, w, h in quarters(whole.size)] for whole in shown]
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_padding(length=77, pad_id=0)
    with torch.no_grad():
        ids = torch.tensor([encoding.ids for encoding in backend.encode_batch(list(TEXTS))])
        texts = model.encode_text(ids, normalize=True).numpy()
    np.savez(
        out / "truth.npz", pictures=embedded(shown), crops=np.stack([embedded(each) for each in crops]), texts=texts
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
