"""Making a detector's directory of a network and the names of its classes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datumaro_clip.errors import ModelFormatError, OptionError
from datumaro_clip.objects.directory import (
    DetectorManifest,
    copy_network,
    detectors_root,
    network_files,
    read_manifest,
    require_labels,
    write_manifest,
)
from datumaro_clip.objects.openvino import Network, require_head
from datumaro_clip.objects.placement import InputSettings
from datumaro_clip.system.files import atomic_directory, read_json, safe_file_name


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
    """Copy a network into a directory, with a manifest that says how to use it.

    Parameters
    ----------
    network : Path
        ``.onnx``, or ``.xml`` with its ``.bin`` beside it; it is read, never run, by this.
    labels : Path
        A text file with a name a line, or a JSON list, or a JSON object from index to name.
    kind : str, optional
        Of :data:`~datumaro_clip.objects.heads.HEADS`; told by the shapes where omitted.
    name : str, optional
        The file's where omitted.
    size : tuple of int, optional
        (H, W) of the input, where the network does not fix it.
    changes : mapping, optional
        Fields of :class:`InputSettings` that differ from what is usual for the kind.
    directory : Path, optional
        Where it shall be; among the detectors that have been added where omitted.
    overwrite : bool
        Replace a detector that is there.

    Returns
    -------
    directory : Path
    manifest : DetectorManifest

    Raises
    ------
    ModelFormatError
        If the network cannot be read, is of no known kind, of several, or not of the one named, or if the labels are
        not those of its classes.
    OptionError
        If a detector of this name is there already.
    """
    names = read_labels(labels)
    source = network_files(network)
    read = Network(network, size)
    head = require_head(read, kind, len(names), str(network))
    usual = InputSettings(read.size, head.placement, head.colour, head.scale)
    name = name or network.stem
    target = directory or detectors_root() / safe_file_name(name)
    _make_way(target, name, overwrite)
    with atomic_directory(target) as new:
        files = copy_network(source, new)
        manifest = DetectorManifest(name, head.kind, names, replace(usual, **(changes or {})), files)
        write_manifest(new, manifest)
    return target, manifest


def _make_way(target: Path, name: str, overwrite: bool) -> None:
    """Remove a detector that is to be replaced; refuse what may not be."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    read_manifest(target)  # what is no detector is not removed
    if not overwrite:
        raise OptionError(
            f"there is a detector {name!r} already at {target}; give --name, or --overwrite to replace it"
        )
    shutil.rmtree(target)


def read_labels(path: Path) -> tuple[str, ...]:
    """The names of classes in a file, in their order.

    Raises
    ------
    ModelFormatError
        If it cannot be read, holds something else, or a name is missing or there twice.
    """
    try:
        if path.suffix.lower() == ".json":
            names = _from_json(read_json(path))
        else:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            names = tuple(line.strip() for line in lines if line.strip())
        require_labels(names)
    except (OSError, ValueError) as exc:
        raise ModelFormatError(f"{path} holds no labels: {exc}; wanted a name a line, or a JSON list of names") from exc
    return names


def _from_json(value: Any) -> tuple[str, ...]:
    """Names of a list, or of an object whose keys are "0", "1" and so on."""
    if isinstance(value, dict):
        value = [value.get(str(index)) for index in range(len(value))]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("it is no list of names")
    return tuple(name.strip() for name in value)
