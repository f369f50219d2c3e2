"""What OpenCLIP itself makes of golden inputs, and what optimum-cli and the library make of its models.

    python tests/openclip_reference.py TOKENIZER OUT

In a process of its own, since OpenCLIP needs torchvision, which is not for the other tests to find. For each model a
folder of OUT gets ``checkpoint/``, ``truth.npz``, ``ir/`` (optimum-cli's) and ``model/`` (the library's).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

TEXT = {"context_length": 77, "vocab_size": 650, "width": 48, "heads": 3, "layers": 2}
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2, "mlp_ratio": 3}
TIMM = {"timm_model_name": "test_efficientnet", "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": None,
        "timm_drop": 0.0, "timm_drop_path": 0.0, "image_size": 64}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "plain": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
    # As MobileCLIP: convolutions, and texts that see their padding.
    "timm": {"embed_dim": 24, "vision_cfg": TIMM, "text_cfg": TEXT | {"no_causal_mask": True}, "custom_text": True},
}
STEPS = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.3, 0.35], "interpolation": "bilinear", "resize_mode": "shortest"}

# Columns and rows that pictures have above the model's: by the remainders that the crop rounds, and two to resize.
SPARE = ((0, 0), (1, 0), (0, 2), (3, 0), (0, 5), (7, 0), (0, 11), (70, 45), (91, 150))


def main(tokenizer: Path, out: Path) -> None:
    """Make everything of every model."""
    from datumaro_clip.model.directory import Origin
    from datumaro_clip.model.making.openclip import export_openclip

    for kind, config in MODELS.items():
        folder = out / kind / "checkpoint"
        folder.mkdir(parents=True)
        shutil.copy(tokenizer, folder / "tokenizer.json")
        model = random_model(config)
        write_checkpoint(model, config, folder)
        size = config["vision_cfg"]["image_size"]
        np.savez(out / kind / "truth.npz", **vectors(model, folder, size), **vectors_of_pictures(model, size))
        run_optimum_cli(folder, out / kind / "ir")
        export_openclip(folder, out / kind / "model", Origin(f"random/{kind}", "openclip"))


def random_model(config: dict[str, Any]) -> Any:
    """An OpenCLIP model with the initial weights that it gives itself, biases and statistics that are not zero."""
    import open_clip

    settings = {key: value for key, value in config.items() if key != "custom_text"}
    torch.manual_seed(0)
    model = (open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP)(**settings)
    with torch.no_grad():
        for name, weight in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("bias", "running_mean")):
                weight.add_(torch.randn_like(weight) * 0.05)
    return model.eval()


def write_checkpoint(model: Any, config: dict[str, Any], folder: Path) -> None:
    """As OpenCLIP's models are kept on a hub, with the weights in both formats."""
    from safetensors.torch import save_file

    settings = {"model_cfg": config, "preprocess_cfg": STEPS}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()},
              folder / "open_clip_model.safetensors")  # fmt: skip
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")


def vectors(model: Any, folder: Path, size: int) -> dict[str, Any]:
    """Unit rows of the golden inputs, texts filled with 0 as OpenCLIP's own tokenizer does."""
    from tokenizers import Tokenizer

    from datumaro_clip.model.golden import GOLDEN_TEXTS, golden_pixels

    pixels = (golden_pixels((size, size)) / 255 - np.array(STEPS["mean"])) / np.array(STEPS["std"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(length=77, pad_id=0)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(GOLDEN_TEXTS))]
    with torch.no_grad():
        images = model.encode_image(torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32), normalize=True)
        texts = model.encode_text(torch.tensor(ids), normalize=True)
    return {"images": images.numpy(), "texts": texts.numpy()}


def vectors_of_pictures(model: Any, size: int) -> dict[str, Any]:
    """Unit rows of pictures larger than the model's, by OpenCLIP's own preprocessing; ``picture-<n>``: the pictures."""
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (size + up, size + across, 3), np.uint8) for across, up in SPARE]
    prepare = image_transform_v2(PreprocessCfg(size=size, **STEPS), is_train=False)
    prepared = torch.stack([prepare(Image.fromarray(picture)) for picture in pictures])
    with torch.no_grad():
        cropped = model.encode_image(prepared, normalize=True).numpy()
    return {"cropped": cropped} | {f"picture-{n}": picture for n, picture in enumerate(pictures)}


def run_optimum_cli(folder: Path, out: Path) -> None:
    """``optimum-cli``, in this process, which finds OpenCLIP."""
    from optimum.commands.optimum_cli import main as optimum_cli

    command = ["export", "openvino", "--library", "open_clip", "-m", str(folder), str(out)]
    with mock.patch.object(sys, "argv", ["optimum-cli", *command]):
        optimum_cli()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
