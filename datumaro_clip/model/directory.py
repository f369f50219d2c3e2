"""The manifest of a model directory: what the model is, and what its files must be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from datumaro_clip.errors import ModelFormatError
from datumaro_clip.model.jsonfile import read_json
from datumaro_clip.system.files import is_safe_relative, sha256_file, write_text
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

PRECISIONS = ("f32", "f16", "bf16", "int8")
#: Files that a manifest must name; each graph's weights lie beside it as ``.bin``.
REQUIRED_FILES = (
    IMAGE_ENCODER,
    "image_encoder.bin",
    TEXT_ENCODER,
    "text_encoder.bin",
    TOKENIZER,
    PREPROCESSOR,
    GOLDEN,
)


@dataclass(frozen=True)
class FileEntry:
    """What one file must be: its size in bytes, and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """The entry that describes the file as it is."""
        return cls(path.stat().st_size, sha256_file(path))


@dataclass(frozen=True)
class Manifest:
    """``manifest.json`` of a model directory; ``docs/model-directory.md`` describes each key."""

    name: str
    family: str
    space: str
    dimension: int
    precision: str
    image_size: tuple[int, int]
    text: TextSettings
    source: Mapping[str, Any]
    versions: Mapping[str, str]
    files: Mapping[str, FileEntry]

    @property
    def vector_space(self) -> VectorSpace:
        """The space of the model's vectors."""
        return VectorSpace(self.space, self.dimension, self.name)

    def to_json(self) -> str:
        """The file's text, keys in the order of the format page."""
        return json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"


def read_manifest(directory: Path) -> Manifest:
    """Read and check a manifest, and that each file it names is there with its size; digests are not computed.

    Raises
    ------
    ModelFormatError
        If it is missing, foreign, of an unknown version, incomplete, names a file outside the directory, or a
        file is missing or of another size.
    """
    if not (directory / MANIFEST).is_file():
        raise ModelFormatError(
            f"{directory} is no model directory: there is no {MANIFEST} in it; datum-clip model list shows those at "
            "hand, datum-clip model export makes one"
        )
    manifest = parse_manifest(read_json(directory / MANIFEST), str(directory / MANIFEST))
    for name, entry in manifest.files.items():
        path = directory / name
        size = _size(path)
        if size != entry.size:
            found = "is missing" if size is None else f"has {size} bytes, not {entry.size}"
            raise ModelFormatError(f"{path} {found}; copy the model again, or export it again")
    return manifest


def _size(path: Path) -> int | None:
    """Bytes of a file; None where there is none, or it has just been removed."""
    with suppress(FileNotFoundError):
        return path.stat().st_size if path.is_file() else None
    return None


def is_of_newer_release(directory: Path) -> bool:
    """Whether a manifest has a version of the format that is newer than this release's."""
    try:
        values = read_json(directory / MANIFEST)
    except ModelFormatError:
        return False
    version = values.get("format_version")
    return values.get("format") == FORMAT and isinstance(version, int) and version > FORMAT_VERSION


def parse_manifest(values: Mapping[str, Any], where: str) -> Manifest:
    """Check the keys of a manifest; ``where`` names it in errors."""
    if values.get("format") != FORMAT:
        raise ModelFormatError(f"{where} is not the manifest of a model of datumaro-clip")
    if values.get("format_version") != FORMAT_VERSION:
        raise ModelFormatError(
            f"{where} has version {values.get('format_version')!r}, this release reads version {FORMAT_VERSION}; "
            "update datumaro-clip, or export the model again"
        )
    missing = [field.name for field in fields(Manifest) if field.name not in values]
    if missing:
        raise ModelFormatError(f"{where} lacks {', '.join(missing)}")
    try:
        manifest = _manifest(values)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ModelFormatError(f"{where} cannot be used: {exc}") from exc
    _check_values(manifest, where)
    return manifest


def _manifest(values: Mapping[str, Any]) -> Manifest:
    """The manifest that the keys describe; unknown keys are left for later versions."""
    height, width = values["image_size"]
    return Manifest(
        name=str(values["name"]),
        family=str(values["family"]),
        space=str(values["space"]),
        dimension=int(values["dimension"]),
        precision=str(values["precision"]),
        image_size=(int(height), int(width)),
        text=TextSettings.from_mapping(values["text"]),
        source=dict(values["source"]),
        versions=dict(values["versions"]),
        files={name: FileEntry(int(e["size"]), str(e["sha256"])) for name, e in values["files"].items()},
    )


def _check_values(manifest: Manifest, where: str) -> None:
    """Raise ModelFormatError for values that no export writes."""
    if manifest.precision not in PRECISIONS:
        raise ModelFormatError(f"{where} has precision {manifest.precision!r}, not one of {', '.join(PRECISIONS)}")
    if not manifest.space.startswith("sha256:") or manifest.dimension < 1:
        raise ModelFormatError(f"{where} describes no vector space: {manifest.space!r}, {manifest.dimension}")
    unsafe = [name for name in manifest.files if not is_safe_relative(name)]
    if unsafe:
        raise ModelFormatError(f"{where} names {unsafe[0]!r}, which may lie outside the model's directory")
    missing = [name for name in REQUIRED_FILES if name not in manifest.files]
    if missing:
        raise ModelFormatError(f"{where} does not name {missing[0]}")


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, whole."""
    write_text(directory / MANIFEST, manifest.to_json())


def describe_files(directory: Path, names: Iterable[str] = REQUIRED_FILES) -> dict[str, FileEntry]:
    """The ``files`` entry of a directory as it is."""
    return {name: FileEntry.of(directory / name) for name in names}


def verify_files(directory: Path, names: Iterable[str] | None = None) -> Manifest:
    """Compare files with the digests in the manifest.

    Parameters
    ----------
    directory : Path
    names : iterable of str, optional
        Which files; all of them where it is not given.

    Raises
    ------
    ModelFormatError
        For the first file whose bytes are not those that the manifest names.
    """
    manifest = read_manifest(directory)
    for name in manifest.files if names is None else names:
        if sha256_file(directory / name) != manifest.files[name].sha256:
            raise ModelFormatError(
                f"{directory / name} was changed or damaged: its SHA-256 is not the manifest's; "
                "copy the model again, or remove the directory and export it again"
            )
    return manifest
