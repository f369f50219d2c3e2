"""A model directory: read, write and verify its manifest, which describes the model and lists its files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.images.preprocess import MAX_SIDE
from datumaro_clip.system import files
from datumaro_clip.texts import TextSettings
from datumaro_clip.vectors import VectorSpace

FORMAT = "datumaro-clip-model"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
PREPROCESSOR = "preprocessor_config.json"
IMAGE_ENCODER = "image_encoder.xml"
TEXT_ENCODER = "text_encoder.xml"
GOLDEN = "golden.npy"
CERTIFICATE = "certificate.json"

#: Precisions that a model's weights can have.
WEIGHTS = ("f32", "f16", "bf16", "int8")
#: Files that a manifest must name; each graph has its weights beside it as ``.bin``.
REQUIRED_FILES = (IMAGE_ENCODER, "image_encoder.bin", TEXT_ENCODER, "text_encoder.bin", TOKENIZER, PREPROCESSOR, GOLDEN)
#: Most dimensions that vectors may have, more than those of any known model.
MAX_DIMENSION = 1 << 16
_MOST_BYTES = 1 << 40
_MOST_LETTERS = 1000
_SPACE = re.compile("sha256:[0-9a-f]{64}")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; raise :class:`ModelFormatError` if there is none."""
    try:
        values = files.read_json(path)
    except (OSError, ValueError) as exc:
        raise ModelFormatError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(values, dict):
        raise ModelFormatError(f"{path} is not a JSON object")
    return values


@dataclass(frozen=True)
class FileEntry:
    """A file's size in bytes, and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """Describe a file as it is now."""
        return cls(path.stat().st_size, files.sha256_file(path))


@dataclass(frozen=True)
class Origin:
    """Where a model came from, for its manifest.

    Attributes
    ----------
    name : str
        The model's name, as users ask for it.
    kind : str
        ``checkpoint``, ``openclip``, ``optimum``, ``onnx``, ``hub`` or ``trained``.
    id, revision : str
        Hugging Face id and commit hash; empty if it has none.
    note : str
        What users must know of the model; logged whenever they name it.
    """

    name: str
    kind: str
    id: str = ""
    revision: str = ""
    note: str = ""

    def to_manifest(self) -> dict[str, str]:
        """Return the manifest's ``source``."""
        note = {"note": self.note} if self.note else {}
        return {"kind": self.kind, "id": self.id, "revision": self.revision, **note}


@dataclass(frozen=True)
class ModelManifest:
    """``manifest.json`` of a model directory; ``docs/model-directory.md`` describes each key."""

    name: str
    family: str
    space: str
    dimension: int
    precision: str
    image_size: tuple[int, int]
    text: TextSettings
    source: Mapping[str, str]
    versions: Mapping[str, str]
    files: Mapping[str, FileEntry]
    #: Whether the manifest that was read has a digest of itself; those of older releases have none.
    is_sealed: bool = field(default=True, compare=False)

    @property
    def vector_space(self) -> VectorSpace:
        """The space of the model's vectors."""
        return VectorSpace(self.space, self.dimension, self.name)

    def to_json(self) -> str:
        """Return the file's text, keys in the order of the format page."""
        values = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        del values["is_sealed"]
        return json.dumps({**values, "digest": _digest(values)}, indent=2) + "\n"


def _digest(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 over all keys of a manifest except its digest, as JSON in ASCII with sorted keys."""
    text = json.dumps({key: value for key, value in values.items() if key != "digest"}, sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def read_manifest(directory: Path) -> ModelManifest:
    """Read and check a manifest, and the size of each file it names; digests are not computed.

    Raises
    ------
    ModelFormatError
        If the manifest is missing, foreign, of an unknown version, incomplete or changed, has a value that no export
        writes, or names a file outside the directory; or if a file is missing or of another size.
    """
    where = directory / MANIFEST
    if not where.is_file():
        raise ModelFormatError(
            f"{directory} is no model directory: there is no {MANIFEST} in it; datum-clip model list shows those at "
            "hand, datum-clip model export makes one"
        )
    manifest = _parse(read_json(where), where)
    for name, entry in manifest.files.items():
        path, size = directory / name, None
        with suppress(FileNotFoundError):  # Another process may remove it between the two calls.
            size = path.stat().st_size if path.is_file() else None
        if size != entry.size:
            found = "is missing" if size is None else f"has {size} bytes, not {entry.size}"
            raise ModelFormatError(f"{path} {found}; copy the model again, or export it again")
    return manifest


def is_of_newer_release(directory: Path) -> bool:
    """Return whether a manifest is of a newer version of the format than this release reads."""
    try:
        values = read_json(directory / MANIFEST)
    except ModelFormatError:
        return False
    version = values.get("format_version")
    return values.get("format") == FORMAT and isinstance(version, int) and version > FORMAT_VERSION


def _parse(values: Mapping[str, Any], where: Path) -> ModelManifest:
    """Make a manifest of JSON values, each checked for its range; unknown keys, of later releases, are ignored."""
    if values.get("format") != FORMAT:
        raise ModelFormatError(f"{where} is not the manifest of a model of datumaro-clip")
    if values.get("format_version") != FORMAT_VERSION:
        raise ModelFormatError(
            f"{where} has version {values.get('format_version')!r}, this release reads version {FORMAT_VERSION}; "
            "update datumaro-clip, or export the model again"
        )
    if missing := [each.name for each in fields(ModelManifest) if each.name not in {*values, "is_sealed"}]:
        raise ModelFormatError(f"{where} lacks {', '.join(missing)}")
    if "digest" in values and values["digest"] != _digest(values):
        raise ModelFormatError(f"{where} was changed: its digest is another; copy the model again, or export it again")
    try:
        height, width = values["image_size"]
        manifest = ModelManifest(
            name=_text(values["name"], "name"),
            family=_text(values["family"], "family"),
            space=_text(values["space"], "space"),
            dimension=_whole(values["dimension"], "dimension", MAX_DIMENSION),
            precision=_text(values["precision"], "precision"),
            image_size=(_whole(height, "height", MAX_SIDE), _whole(width, "width", MAX_SIDE)),
            text=TextSettings.from_mapping(values["text"]),
            source={_text(key, "source"): _text(value or "", key) for key, value in values["source"].items()},
            versions={_text(key, "versions"): _text(value, key) for key, value in values["versions"].items()},
            files={
                _text(name, "files"): FileEntry(
                    _whole(entry["size"], "size", _MOST_BYTES, least=0), _text(entry["sha256"], "sha256")
                )
                for name, entry in values["files"].items()
            },
            is_sealed="digest" in values,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ModelFormatError(f"{where} cannot be used: {exc}") from exc
    if manifest.precision not in WEIGHTS:
        raise ModelFormatError(f"{where} has precision {manifest.precision!r}, not one of {', '.join(WEIGHTS)}")
    if not _SPACE.fullmatch(manifest.space):
        raise ModelFormatError(f"{where} describes no vector space: {manifest.space!r}")
    if unsafe := [name for name in manifest.files if not files.is_safe_relative(name)]:
        raise ModelFormatError(f"{where} names {unsafe[0]!r}, which may lie outside the model's directory")
    if lacking := [name for name in REQUIRED_FILES if name not in manifest.files]:
        raise ModelFormatError(f"{where} does not name {lacking[0]}")
    return manifest


def _whole(value: Any, name: str, most: int, least: int = 1) -> int:
    """Return a whole number in a range; raise ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} {value!r} is no whole number from {least} to {most}")
    return value


def _text(value: Any, name: str) -> str:
    """Return a text of one line that a terminal can show; raise ValueError for anything else."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > _MOST_LETTERS:
        raise ValueError(f"{name} {str(value)[:40]!r} is no line of text")
    return value


def write_manifest(directory: Path, manifest: ModelManifest) -> None:
    """Write ``manifest.json``, whole."""
    files.write_text(directory / MANIFEST, manifest.to_json())


def describe_files(directory: Path) -> dict[str, FileEntry]:
    """Return the manifest's ``files`` for a directory as it is now."""
    return {name: FileEntry.of(directory / name) for name in REQUIRED_FILES}


def verify_files(directory: Path, names: Iterable[str] | None = None) -> ModelManifest:
    """Read the manifest, and compare files with its digests.

    Parameters
    ----------
    directory : Path
    names : iterable of str, optional
        The files to compare; by default all.

    Raises
    ------
    ModelFormatError
        For the first file whose bytes are not those that the manifest names.
    """
    manifest = read_manifest(directory)
    for name in manifest.files if names is None else names:
        if files.sha256_file(directory / name) != manifest.files[name].sha256:
            raise ModelFormatError(
                f"{directory / name} was changed or damaged: its SHA-256 is not the manifest's; "
                "copy the model again, or remove the directory and export it again"
            )
    return manifest
