"""The options that every plugin shares which may have to compute vectors."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, fields
from typing import Any

from datumaro_clip.errors import OptionError

ON_ERROR = ("keep", "skip", "fail")
TEXTS = ("none", "captions", "labels")
DEFAULT_PROMPT = "a photo of a {}"


@dataclass(frozen=True)
class EmbeddingOptions:
    """How vectors are come by.

    Attributes
    ----------
    model : str, optional
        Directory, Hugging Face id or bundled name. Where omitted, the items' own vectors decide, and the
        default model computes what is missing.
    device : str
        OpenVINO's name of a device.
    precision : str
        ``auto`` (the fastest that is safe on the device), ``f32``, ``f16``, ``bf16`` or ``int8``.
    batch_size : int, optional
        Pictures a batch, > 0; where omitted, what is measured to be fastest.
    streams : int, optional
        Batches that the device computes at a time, > 0; where omitted, what OpenVINO finds best for it.
    threads : int, optional
        Threads that read and decode pictures, > 0; where omitted, one for each processor.
    on_error : str
        What becomes of an item whose picture cannot be embedded: ``keep`` it without a vector, ``skip`` it, or
        ``fail`` the run.
    texts : str
        Texts to embed with each item: ``none``, ``captions``, or ``labels`` through the prompt.
    prompt : str
        Where ``texts`` is ``labels``; ``{}`` stands for the label's name.
    cache : str, optional
        The vector cache's directory, or ``off``; the platform's cache directory where omitted.
    exact_decode : bool
        Decode large JPEGs whole instead of scaled.
    local_files_only : bool
        Never ask a model hub.
    self_check : bool
        Compare a device's answers with known vectors before a run on anything but CPU f32.
    overwrite : bool
        Compute again where an item carries another model's vector, instead of refusing.
    """

    model: str | None = None
    device: str = "CPU"
    precision: str = "auto"
    batch_size: int | None = None
    streams: int | None = None
    threads: int | None = None
    on_error: str = "keep"
    texts: str = "none"
    prompt: str = DEFAULT_PROMPT
    cache: str | None = None
    exact_decode: bool = False
    local_files_only: bool = False
    self_check: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        require_choice("on_error", self.on_error, ON_ERROR)
        require_choice("texts", self.texts, TEXTS)
        for option in ("batch_size", "streams", "threads"):
            require_range(option, getattr(self, option), 1)
        if self.prompt.count("{}") != 1:
            raise OptionError(f"--prompt needs exactly one {{}} for the label's name, got {self.prompt!r}")

    @classmethod
    def take_from(cls, options: dict[str, Any]) -> EmbeddingOptions:
        """Take this class's fields out of a plugin's keyword arguments; the others stay there."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: options.pop(name) for name in list(options) if name in names})


def require_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise :class:`OptionError` unless an option's value is one of its choices."""
    if value not in choices:
        raise OptionError(f"--{option.replace('_', '-')} must be one of {', '.join(choices)}; got {value!r}")


def require_range(option: str, value: float | None, low: float, high: float = math.inf) -> None:
    """Raise :class:`OptionError` unless an option's value is finite and in its range, or the option is not given."""
    if value is not None and not (low <= value <= high and math.isfinite(value)):
        flag = f"-{option}" if len(option) == 1 else f"--{option.replace('_', '-')}"
        wanted = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise OptionError(f"{flag} must be {wanted}{', and finite' if math.isinf(value) else ''}, got {value}")


def add_embedding_options(parser: argparse.ArgumentParser, *, overwrite: bool = False) -> None:
    """Declare the options of :class:`EmbeddingOptions` on a plugin's parser, ``--overwrite`` only where asked."""
    group = parser.add_argument_group("vectors")
    add = group.add_argument
    add("--model", help="model directory, Hugging Face id or bundled name (default: openai/clip-vit-base-patch32)")
    add("--device", default="CPU", help="OpenVINO device, as CPU, GPU.0, NPU, AUTO:GPU,CPU (default: %(default)s)")
    add("--precision", default="auto", choices=("auto", "f32", "f16", "bf16", "int8"), help="default: %(default)s")
    add("--batch-size", type=_number, metavar="N|auto", help="pictures a batch (default: auto, by measurement)")
    add("--streams", type=_number, metavar="N|auto", help="batches computed at a time (default: auto)")
    add("--threads", type=_number, metavar="N|auto", help="threads that decode (default: auto, one a processor)")
    add("--on-error", default="keep", choices=ON_ERROR, help="items whose picture fails (default: %(default)s)")
    add("--texts", default="none", choices=TEXTS, help="texts to embed too (default: %(default)s)")
    add("--prompt", default=DEFAULT_PROMPT, help="for --texts labels (default: '%(default)s')")
    add("--cache", metavar="DIR|off", help="vector cache (default: the platform's cache directory)")
    add("--exact-decode", action="store_true", help="decode large JPEGs whole, not scaled")
    add("--local-files-only", action="store_true", help="never ask a model hub")
    add("--no-self-check", dest="self_check", action="store_false", help="do not test the device on known inputs")
    if overwrite:
        add("--overwrite", action="store_true", help="compute again where an item has another model's vector")


def _number(text: str) -> int | None:
    if text != "auto" and not text.lstrip("-").isdecimal():
        raise argparse.ArgumentTypeError(f"wanted a whole number or auto, got {text!r}")
    return None if text == "auto" else int(text)
