"""A detector's directory: its network, and a manifest with what is needed to use it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from datumaro_clip.errors import ModelFormatError, ModelNotFoundError
from datumaro_clip.model.directory import FileEntry, read_json
from datumaro_clip.objects.heads import HEADS
from datumaro_clip.objects.placement import InputSettings
from datumaro_clip.system.files import cache_root, is_safe_relative

FORMAT = "datumaro-clip-detector"
FORMAT_VERSION = 1
MANIFEST = "detector.json"

#: The suffixes of a network's files, by the suffix of the one that is named: an OpenVINO IR has its weights beside it.
NETWORKS: Mapping[str, tuple[str, ...]] = {".onnx": (".onnx",), ".xml": (".xml", ".bin")}


@dataclass(frozen=True)
class DetectorManifest:
    """``detector.json``; ``docs/objects.md`` describes each key."""

    name: str
    kind: str
    labels: tuple[str, ...]
    input: InputSettings
    files: Mapping[str, FileEntry]

    @property
    def network(self) -> str:
        """The name of the file that OpenVINO reads."""
        return next(name for name in self.files if Path(name).suffix in NETWORKS)

    @property
    def fingerprint(self) -> str:
        """``sha256:`` and 64 hexadecimal digits over everything that affects which boxes are found."""
        decides = {name: value for name, value in self.to_mapping().items() if name not in ("format", "name")}
        text = json.dumps(decides, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON values of the file, in the order of the format page."""
        files = {name: asdict(entry) for name, entry in self.files.items()}
        own = {"name": self.name, "kind": self.kind, "labels": list(self.labels), "input": self.input.to_mapping()}
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **own, "files": files}


def read_manifest(directory: Path) -> DetectorManifest:
    """Read and check a detector's manifest, and that its files exist; their digests are not compared.

    Raises
    ------
    ModelFormatError
        If it is missing, foreign, of an unknown version, incomplete, or names a file that is missing or may lie outside
        the directory.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise ModelFormatError(f"{directory} is no detector's directory: there is no {MANIFEST} in it; {ADD}")
    values = read_json(path)
    if values.get("format") != FORMAT:
        raise ModelFormatError(f"{path} is not the manifest of a detector of datumaro-clip; {ADD}")
    if values.get("format_version") != FORMAT_VERSION:
        raise ModelFormatError(
            f"{path} has version {values.get('format_version')!r}, this release reads version {FORMAT_VERSION}; "
            "update datumaro-clip, or add the detector again"
        )
    if missing := [field.name for field in fields(DetectorManifest) if field.name not in values]:
        raise ModelFormatError(f"{path} lacks {', '.join(missing)}; add the detector again")
    try:
        manifest = _manifest(values)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ModelFormatError(f"{path} cannot be used: {exc}; add the detector again") from exc
    for name in manifest.files:
        if not (directory / name).is_file():
            raise ModelFormatError(f"{directory / name} is missing; add the detector again")
    return manifest


def verify_files(directory: Path) -> DetectorManifest:
    """Compare a detector's files with the digests in its manifest.

    Raises
    ------
    ModelFormatError
        For the first file that has another size or digest.
    """
    manifest = read_manifest(directory)
    for name, entry in manifest.files.items():
        if FileEntry.of(directory / name) != entry:
            raise ModelFormatError(
                f"{directory / name} was changed or damaged: it is not what the manifest says; add the detector again"
            )
    return manifest


def detectors_root() -> Path:
    """Return the directory of the detectors that were added; it need not exist."""
    return cache_root() / "detectors"


def find_detector(name: str) -> Path:
    """Return the directory of a detector, given that directory, or the name or fingerprint of one that was added.

    Raises
    ------
    ModelNotFoundError
        If there is none; the message lists those that were added.
    """
    given = Path(name).expanduser()
    if given.is_dir():
        return given
    if given.suffix.lower() in NETWORKS and given.is_file():
        raise ModelNotFoundError(f"{name} does not say which labels it finds; {ADD}, and name the detector")
    for directory, manifest in detectors_at_hand():
        if name in (manifest.name, manifest.fingerprint):
            return directory
    there = ", ".join(manifest.name for _, manifest in detectors_at_hand()) or "none"
    raise ModelNotFoundError(
        f"there is no detector {name!r}, neither as a directory nor added; there are: {there}; {ADD}"
    )


def detectors_at_hand() -> Iterator[tuple[Path, DetectorManifest]]:
    """Yield the detectors that were added and can be read, ordered by name."""
    root = detectors_root()
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.is_dir() and not path.name.startswith("."):
            try:
                yield path, read_manifest(path)
            except ModelFormatError:
                continue  # Damaged, or of another release; `detector info` tells.


ADD = "add one: datum-clip detector add FILE --labels NAMES"


def _manifest(values: Mapping[str, Any]) -> DetectorManifest:
    """Make the manifest of JSON values; unknown keys, which later versions may write, are ignored."""
    manifest = DetectorManifest(
        name=str(values["name"]),
        kind=str(values["kind"]),
        labels=tuple(map(str, values["labels"])),
        input=InputSettings.from_mapping(values["input"]),
        files={name: FileEntry(int(e["size"]), str(e["sha256"])) for name, e in values["files"].items()},
    )
    require_labels(manifest.labels)
    if manifest.kind not in HEADS:
        raise ValueError(f"kind {manifest.kind!r} is none of {', '.join(HEADS)}")
    if unsafe := [name for name in manifest.files if not is_safe_relative(name)]:
        raise ValueError(f"it names {unsafe[0]!r}, which may lie outside the detector's directory")
    if not any(Path(name).suffix in NETWORKS for name in manifest.files):
        raise ValueError("it names no network")
    return manifest


def require_labels(labels: tuple[str, ...]) -> None:
    """Raise ModelFormatError unless there are labels, none empty and none twice."""
    if not labels or not all(label.strip() for label in labels):
        raise ModelFormatError("a detector needs the names of its classes, none of them empty")
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise ModelFormatError(f"the label {repeated[0]!r} is there more than once")
