"""Make a CLIP checkpoint of random weights, as transformers saves one.

    python tools/make_random_clip.py OUT [--size b32|small] [--family clip|siglip] [--tokenizer DIR] [--seed 0]

The weights mean nothing, but everything else is a real model's: the architecture, the tokenizer and the image
processor. ``b32`` is CLIP ViT-B/32 and takes its tokenizer and image processor from ``--tokenizer``; ``small`` is the
same architecture of a few hundred kilobytes, and needs nothing: its tokenizer is trained on the spot.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "b32": {
        "text": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8},
        "vision": {
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "image_size": 224, "patch_size": 32,
        },
        "projection_dim": 512,
    },
    "small": {
        "text": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        "vision": {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 8,
        },
        "projection_dim": 24,
    },
}  # fmt: skip
CONTEXT_LENGTH = {"clip": 77, "siglip": 64}
# The means and deviations are those of OpenAI's CLIP and Google's SigLIP.
NORMALISATION = {
    "clip": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "siglip": ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
}
START, END, SUFFIX = "<|startoftext|>", "<|endoftext|>", "</w>"
# CLIP's own pattern of words.
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
CORPUS = [
    "a photo of a cat", "two dogs playing in the snow", "a red car parked on the street", "a bowl of fruit on a table",
    "people walking along the beach at sunset", "an aerial view of a city", "a black and white drawing of a horse",
    "the quick brown fox jumps over the lazy dog", "a close-up of a yellow flower", "three wooden chairs, 1970s style",
]  # fmt: skip


def main() -> None:
    """Write the checkpoint that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="directory to write")
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--family", choices=sorted(CONTEXT_LENGTH), default="clip")
    parser.add_argument("--tokenizer", type=Path, help="directory with tokenizer.json and preprocessor_config.json")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make_random_clip(args.out, size=args.size, family=args.family, tokenizer=args.tokenizer, seed=args.seed)


def make_random_clip(
    out: Path, *, size: str = "small", family: str = "clip", tokenizer: Path | None = None, seed: int = 0
) -> Path:
    """Write a checkpoint of random weights; equal arguments give equal bytes.

    Parameters
    ----------
    out : Path
        Directory to write.
    size : str
        ``b32`` or ``small``.
    family : str
        ``clip`` or ``siglip``.
    tokenizer : Path, optional
        Directory whose ``tokenizer.json`` and ``preprocessor_config.json`` are copied; without it a small
        tokenizer is trained.
    seed : int
        Seed of the weights.

    Returns
    -------
    Path
        ``out``.
    """
    out.mkdir(parents=True, exist_ok=True)
    if tokenizer:
        for name in ("tokenizer.json", "preprocessor_config.json"):
            shutil.copyfile(tokenizer / name, out / name)
    else:
        train_tokenizer(family).save(str(out / "tokenizer.json"))
        write_json(out / "preprocessor_config.json", image_processor(family, SIZES[size]["vision"]["image_size"]))
    ids = special_ids(out / "tokenizer.json")
    write_json(out / "tokenizer_config.json", tokenizer_config(family))
    model = random_model(family, SIZES[size], ids, seed)
    model.save_pretrained(out)
    return out


def random_model(family: str, size: dict[str, Any], ids: dict[str, int], seed: int) -> Any:
    """A CLIP or SigLIP with the initial weights that transformers gives it, and biases that are not zero."""
    import torch
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    text = size["text"] | ids | {"max_position_embeddings": CONTEXT_LENGTH[family]}
    torch.manual_seed(seed)
    if family == "clip":
        config = CLIPConfig(text_config=text | {"projection_dim": size["projection_dim"]},
                            vision_config=size["vision"] | {"projection_dim": size["projection_dim"]},
                            projection_dim=size["projection_dim"])  # fmt: skip
        model = CLIPModel(config)
    else:
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=size["vision"]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias") or "norm" in name or "logit" in name:
                weight.add_(torch.randn_like(weight) * 0.05)
    return model.eval()


def train_tokenizer(family: str) -> Any:
    """A byte-level BPE of some hundred tokens, lower-casing, laid out and framed as CLIP's (or ended as SigLIP's)."""
    from tokenizers import AddedToken, Tokenizer, models, processors

    vocabulary, merges = train_bpe()
    bpe = models.BPE(vocabulary, merges, unk_token=END, end_of_word_suffix=SUFFIX)
    tokenizer = with_clip_pieces(Tokenizer(bpe))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (START, END)])
    frame = f"{START} $A {END}" if family == "clip" else f"$A {END}"
    marks = [(token, vocabulary[token]) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=frame, special_tokens=marks)
    return tokenizer


def train_bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary (each byte, each byte at a word's end, what the merges make, the two marks) and merges."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainee = with_clip_pieces(Tokenizer(models.BPE(end_of_word_suffix=SUFFIX)))
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, end_of_word_suffix=SUFFIX, show_progress=False
    )
    trainee.train_from_iterator(CORPUS, trainer)
    merges = [tuple(pair) for pair in json.loads(trainee.to_str())["model"]["merges"]]
    pieces = [*alphabet, *(char + SUFFIX for char in alphabet), *map("".join, merges), START, END]
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}, merges


def with_clip_pieces(tokenizer: Any) -> Any:
    """Give a tokenizer the normaliser, the splitting and the decoder of CLIP's."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def special_ids(tokenizer_json: Path) -> dict[str, int]:
    """Sizes and special tokens that the text encoder's configuration takes from the tokenizer."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    start, end = (tokenizer.token_to_id(token) for token in (START, END))
    return {"vocab_size": tokenizer.get_vocab_size(), "bos_token_id": start, "eos_token_id": end, "pad_token_id": end}


def tokenizer_config(family: str) -> dict[str, Any]:
    """``tokenizer_config.json``: nothing that would make transformers rebuild ``tokenizer.json`` its own way."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "model_max_length": CONTEXT_LENGTH[family],
    }


def image_processor(family: str, image_size: int) -> dict[str, Any]:
    """``preprocessor_config.json`` as the family's own models have it, for another picture size."""
    mean, std = NORMALISATION[family]
    common = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": mean,
              "image_std": std, "do_resize": True, "resample": 3}  # fmt: skip
    if family == "siglip":
        return {"image_processor_type": "SiglipImageProcessor", **common,
                "size": {"height": image_size, "width": image_size}}  # fmt: skip
    return {"image_processor_type": "CLIPImageProcessor", **common, "do_convert_rgb": True,
            "size": {"shortest_edge": image_size}, "do_center_crop": True,
            "crop_size": {"height": image_size, "width": image_size}}  # fmt: skip


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a configuration file."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
