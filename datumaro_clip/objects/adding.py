"""Makes a detector's directory from a network and the names of its classes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datumaro_clip.errors import ModelFormatError, OptionError
from datumaro_clip.model.directory import FileEntry
from datumaro_clip.objects.directory import (
    MANIFEST,
    NETWORKS,
    DetectorManifest,
    detectors_root,
    read_manifest,
    require_labels,
)
from datumaro_clip.objects.openvino import Network, require_head
from datumaro_clip.objects.placement import InputSettings
from datumaro_clip.system.files import atomic_directory, read_json, safe_file_name, write_text


def add_detector(
    network: Path,
    labels: Path,
    *,
    kind: str | None = None,
    name: str | None = None,
    size: tuple[int, int] | None = None,
    changes: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    overwrite: bool = False,
) -> tuple[Path, DetectorManifest]:
    """Copy a network into a directory, and write a manifest with what is needed to use it.

    Parameters
    ----------
    network : Path
        ``.onnx``, or ``.xml`` with its ``.bin`` beside it; it is read here, never run.
    labels : Path
        A text file with a name a line, or a JSON list, or a JSON object from index to name.
    kind : str, optional
        Of :data:`~datumaro_clip.objects.heads.HEADS`; recognised by the shapes of the outputs if omitted.
    name : str, optional
        The file's name if omitted.
    size : tuple of int, optional
        (H, W) of the input, if the network does not fix it.
    changes : mapping, optional
        Fields of :class:`InputSettings` that differ from the usual ones of the kind.
    directory : Path, optional
        The directory to make; one among the detectors that were added if omitted.
    overwrite : bool
        Replace a detector of this name.

    Returns
    -------
    directory : Path
    manifest : DetectorManifest

    Raises
    ------
    ModelFormatError
        If the network cannot be read, is of no known kind, of several, or not of the one named, or if the number of
        labels is not that of its classes.
    OptionError
        If there is a detector of this name already.
    """
    names = read_labels(labels)
    sources = _network_files(network)
    read = Network(network, size)
    head = require_head(read, kind, len(names), str(network))
    usual = InputSettings(read.size, head.placement, head.colour, head.scale)
    name = name or network.stem
    target = directory or detectors_root() / safe_file_name(name)
    _make_way(target, name, overwrite)
    with atomic_directory(target) as new:
        for file, source in sources.items():
            shutil.copyfile(source, new / file)
        files = {file: FileEntry.of(new / file) for file in sources}
        manifest = DetectorManifest(name, head.kind, names, replace(usual, **(changes or {})), files)
        write_text(new / MANIFEST, json.dumps(manifest.to_mapping(), indent=2, ensure_ascii=False) + "\n")
    return target, manifest


def _network_files(path: Path) -> dict[str, Path]:
    """Return the files of a network, by their names in a detector's directory; raise ModelFormatError without them."""
    suffix = path.suffix.lower()
    if suffix not in NETWORKS:
        raise ModelFormatError(f"{path} is neither .onnx nor .xml; export the detector as ONNX or OpenVINO IR first")
    files = {f"detector{each}": path if each == suffix else path.with_suffix(each) for each in NETWORKS[suffix]}
    for file in files.values():
        if not file.is_file():
            raise ModelFormatError(f"{file} is not there; name the network's .onnx or .xml, weights beside it")
    return files


def _make_way(target: Path, name: str, overwrite: bool) -> None:
    """Remove the detector that is to be replaced; refuse to remove anything else."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    read_manifest(target)  # raises unless it is a detector
    if not overwrite:
        raise OptionError(
            f"there is a detector {name!r} already at {target}; give --name, or --overwrite to replace it"
        )
    shutil.rmtree(target)


def read_labels(path: Path) -> tuple[str, ...]:
    """Read the names of classes from a file, in their order.

    Raises
    ------
    ModelFormatError
        If it cannot be read, holds something else, or a name is empty or there twice.
    """
    try:
        if path.suffix.lower() == ".json":
            value = read_json(path)
            if isinstance(value, dict):
                value = [value.get(str(index)) for index in range(len(value))]
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise ValueError("it is no list of names")
            names = tuple(name.strip() for name in value)
        else:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            names = tuple(line.strip() for line in lines if line.strip())
        require_labels(names)
    except (OSError, ValueError) as exc:
        raise ModelFormatError(f"{path} holds no labels: {exc}; wanted a name a line, or a JSON list of names") from exc
    return names
