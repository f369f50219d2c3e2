"""The options of all commands and tools that may compute vectors."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from datumaro_clip.model.devices import PRECISIONS
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.options import Choice, File, Flag, Option, Text, Whole, read_options
from datumaro_clip.texts import DEFAULT_PROMPT

log = logging.getLogger(__name__)

TEXTS = ("none", "captions", "labels")


def _prompt_problem(text: str) -> str | None:
    return None if text.count("{}") == 1 else "needs exactly one {} for the label's name"


@dataclass(frozen=True)
class Model(File):
    """A model's name or directory; in Python also an encoder."""

    metavar: str | None = None

    def problem(self, value: Any) -> str | None:
        if isinstance(value, Encoder) or super().problem(value) is None:
            return None
        return "must be a model's name, a path, or an encoder"

    def describe(self) -> dict[str, Any]:
        return {"type": "text"}

    def located(self, value: Any, folder: Path) -> Any:
        directory = folder / Path(value).expanduser()
        return os.fspath(directory) if directory.is_dir() else value


class Cache(Text):
    """A vector cache's directory, or ``off``."""

    def located(self, value: Any, folder: Path) -> Any:
        return value if value == "off" else File().located(value, folder)


_option = partial(Option, group="vectors")
_count = partial(_option, kind=Whole(metavar="N|auto", at_least=1, auto=True), default=None, changes="speed")
#: The options that all of them have.
VECTOR_OPTIONS = (
    _option(
        "model",
        Model(),
        None,
        "model directory, Hugging Face id, bundled name, or another package's encoder",
        unset="openai/clip-vit-base-patch32",
        variable="DATUMARO_CLIP_MODEL",
    ),
    _option("device", Text(), "CPU", "OpenVINO device, such as CPU, GPU.0, NPU, AUTO:GPU,CPU"),
    _option("precision", Choice(names=PRECISIONS), "auto", "precision of the model's arithmetic"),
    _count("batch-size", help="pictures per batch", unset="auto, by measurement"),
    _count("streams", help="batches computed at the same time", unset="auto"),
    _count("threads", help="threads that read and decode", unset="auto, one per processor"),
    _option("on-error", Choice(names=("keep", "skip", "fail")), "keep", "what to do with an item whose picture fails"),
    _option(
        "cache",
        Cache(metavar="DIR|off"),
        None,
        "where computed vectors are kept",
        unset="the platform's cache directory",
        changes="speed",
        variable="DATUMARO_CLIP_CACHE",
    ),
    _option("exact-decode", Flag(), False, "decode large JPEGs at full resolution"),
    _option("local-files-only", Flag(), False, "download no model"),
    _option(
        "no-self-check",
        Flag(),
        True,
        "do not check the device with known inputs",
        keyword="self_check",
        changes="speed",
    ),
    _option(
        "recompute", Flag(), False, "compute again where an item has a vector of another model", former="overwrite"
    ),
)
TEXTS_OPTION = _option("texts", Choice(names=TEXTS), "none", "also embed these texts")
PROMPT_OPTION = _option(
    "prompt",
    Text(check=_prompt_problem),
    DEFAULT_PROMPT,
    "sentence around a label's name",
)
#: The options of whatever embeds datasets with their texts.
EMBEDDING_OPTIONS = (*VECTOR_OPTIONS, TEXTS_OPTION, PROMPT_OPTION)


@dataclass(frozen=True)
class EmbeddingOptions:
    """How vectors are found or computed; checked against the tables above.

    Attributes
    ----------
    model : str, path or Encoder, optional
        Directory, Hugging Face id, bundled name or name of another package's encoder; in Python also an encoder. Where
        omitted, the model of the items' own vectors is used, else the default model.
    device : str
        OpenVINO's name of a device.
    precision : str
        ``auto`` (the fastest that is safe on the device), ``f32``, ``f16``, ``bf16`` or ``int8``.
    batch_size : int, optional
        Pictures a batch, > 0; where omitted, the number that measures fastest.
    streams : int, optional
        Batches that the device computes at a time, > 0; where omitted, OpenVINO's choice for the device.
    threads : int, optional
        Threads that read and decode pictures, > 0; where omitted, one for each processor.
    on_error : str
        What to do with an item whose picture cannot be embedded: ``keep`` it without a vector, ``skip`` it, or ``fail``
        the run.
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
    recompute : bool
        Compute again where an item carries another model's vector, instead of refusing.
    overwrite : bool
        The former name of ``recompute``.

    Raises
    ------
    OptionError
        If a value cannot be used.
    """

    model: str | os.PathLike[str] | Encoder | None = None
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
    recompute: bool = False
    overwrite: InitVar[bool] = False

    def __post_init__(self, overwrite: bool) -> None:
        if overwrite:
            log.warning("overwrite is now called recompute; the old name goes with the next release")
            object.__setattr__(self, "recompute", True)
        read_options(EMBEDDING_OPTIONS, vars(self), "the model")

    @classmethod
    def take_from(cls, options: dict[str, Any]) -> EmbeddingOptions:
        """Remove this class's fields from a plugin's keyword arguments, and make options of them."""
        names = {"overwrite", *(each.name for each in fields(cls))}
        return cls(**{name: options.pop(name) for name in list(options) if name in names})

    @classmethod
    def among(cls, values: Mapping[str, Any]) -> EmbeddingOptions:
        """Pick the options out of a mapping that has others too."""
        return cls.take_from(dict(values))
