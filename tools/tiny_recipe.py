"""The configuration, tokenizer, augmentation and losses of `tiny`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, CLIPConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from datumaro_clip.demo.catalogue import ATTRIBUTES

IMAGE_SIDE = 96
CONTEXT_LENGTH = 32
VOCABULARY = 768
START, END = "<|startoftext|>", "<|endoftext|>"
# Attributes that every picture has a value of.
PROMPTED = ("kind", "colour", "pattern", "background", "size")
MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def configuration() -> CLIPConfig:
    """A CLIP of two small towers; the text tower reads its vector at the first END."""
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT_LENGTH,
        "hidden_act": "relu",
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": IMAGE_SIDE,
        "patch_size": 16,
        "hidden_act": "relu",
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=128)


def attention_in_f32(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """PyTorch's attention, which on a CPU learns three times as fast in float32 as in bfloat16."""
    mixed, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), *args, **kwargs)
    return mixed.to(query.dtype), None


ATTENTION = "sdpa_in_f32"
AttentionInterface.register(ATTENTION, attention_in_f32)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def learn_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Byte-level BPE over lower-cased text: no text is unknown to it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[START, END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 0), (END, 1)]
    )
    tokenizer.enable_truncation(CONTEXT_LENGTH)
    tokenizer.enable_padding(pad_id=1, pad_token=END)
    return tokenizer


def augmented(pictures: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Normalised crops, mirrored or not, up to an eighth brighter or darker.

    uint8 (B, S, S, 3) to ``pixel_values`` float32 (B, 3, IMAGE_SIDE, IMAGE_SIDE).
    """
    free = pictures.shape[1] - IMAGE_SIDE + 1
    corners = torch.randint(0, free, (len(pictures), 2), generator=chance).tolist()
    crops = torch.stack(
        [one[y : y + IMAGE_SIDE, x : x + IMAGE_SIDE] for one, (y, x) in zip(pictures, corners, strict=True)]
    )
    pixels = crops.permute(0, 3, 1, 2).float()
    mirrored = torch.rand(len(pixels), 1, 1, 1, generator=chance) < 0.5
    gain = 1 + 0.125 * (2 * torch.rand(len(pixels), 1, 1, 1, generator=chance) - 1)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    return torch.where(mirrored, pixels.flip(3), pixels) * (gain / (255 * deviation)) - mean / deviation


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, shown: torch.Tensor, told: torch.Tensor
) -> torch.Tensor:
    """CLIP's symmetric loss, in which a caption that is also true of another picture does not count against it.

    Parameters
    ----------
    images, texts
        Unit rows, float32 (B, D); row i of both belong together.
    scale
        The inverse temperature.
    shown, told
        Codes of the attributes of each picture and of each caption, int (B, A); -1 is not spoken of.
    """
    true = ((told[:, None] == -1) | (told[:, None] == shown[None])).all(dim=2)
    false_negative = true & ~torch.eye(len(true), dtype=torch.bool)
    logits = (scale * texts @ images.T).masked_fill(false_negative, -1e4)
    target = torch.arange(len(logits))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def prompt_loss(images: torch.Tensor, prompts: torch.Tensor, scale: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """CLIP's loss from picture to text, over the prompts of one attribute at a time; the mean over ``PROMPTED``.

    In a batch drawn at random, colour and background tell nearly all pictures apart, and a model that hears only of
    whole captions is slow to look at shapes.

    Parameters
    ----------
    images, prompts
        Unit rows, float32 (B, D) and (P, D): the prompts of all values of all of ``PROMPTED``, in order.
    scale
        The inverse temperature.
    shown
        Codes of the attributes of each picture, int (B, A).
    """
    parts = prompts.split([len(ATTRIBUTES[name]) for name in PROMPTED])
    columns = [list(ATTRIBUTES).index(name) for name in PROMPTED]
    losses = [
        functional.cross_entropy(scale * images @ part.T, shown[:, column].long())
        for part, column in zip(parts, columns, strict=True)
    ]
    return torch.stack(losses).mean()
