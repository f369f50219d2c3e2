"""Find the model directory for a model's name, or make it; never takes another model instead."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from datumaro_clip.errors import ModelFormatError, ModelNotFoundError, did_you_mean
from datumaro_clip.model.directory import (
    MANIFEST,
    ModelManifest,
    Origin,
    is_of_newer_release,
    read_manifest,
    verify_files,
)
from datumaro_clip.model.hub import HubId, fetch
from datumaro_clip.model.layouts import LAYOUTS, Layout, find_layout, relative_names
from datumaro_clip.system.files import cache_root, safe_file_name

DEFAULT_MODEL = "openai/clip-vit-base-patch32"
MODEL_VARIABLE = "DATUMARO_CLIP_MODEL"
BUNDLED = Path(__file__).resolve().parents[1] / "bundled"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelDirectory:
    """A model on this machine.

    Attributes
    ----------
    path : Path
        A directory as ``docs/model-directory.md`` describes it.
    manifest : ModelManifest
    route : str
        Where it came from, for people.
    """

    path: Path
    manifest: ModelManifest
    route: str


def default_model() -> str:
    """Return the model to use if none is named: ``DATUMARO_CLIP_MODEL``, else CLIP ViT-B/32."""
    return os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL


def bundled_names() -> list[str]:
    """List the models that come with this package."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{MANIFEST}"))


def resolve(model: str | os.PathLike[str] | None = None, *, local_files_only: bool = False) -> ModelDirectory:
    """Find a model, or make its directory.

    The name is, in this order: the fingerprint of a vector space of a model on this machine; a directory (ours,
    optimum-cli's, ONNX encoders, a checkpoint); a bundled model; a Hugging Face id, from its cache or downloaded.

    Parameters
    ----------
    model : path or str, optional
        A directory, ``tiny``, ``sha256:…``, ``owner/name`` or ``owner/name@revision``; by default
        :func:`default_model`.
    local_files_only : bool
        Never ask a hub.

    Raises
    ------
    ModelNotFoundError
        If there is no such model, or it cannot be downloaded; says why, and what to do.
    ModelFormatError, ModelExportError
        If a directory is damaged, or cannot be exported.
    """
    name = os.fspath(model) if model is not None else default_model()
    directory = Path(name).expanduser()
    if name.startswith("sha256:"):
        found = find_by_space(name)
    elif directory.is_dir():
        found = _from_directory(directory)
    elif name in bundled_names():
        found = _ready(BUNDLED / name, "bundled")
    else:
        found = _from_hub(name, local_files_only)
    log.debug("model %s: %s, %s", found.manifest.name, found.route, found.path)
    note = found.manifest.source.get("note")
    if note and name in bundled_names():  # Not for a directory or a vector space made from it.
        log.info("model %s: %s", found.manifest.name, note)
    return found


def models_at_hand() -> list[ModelDirectory]:
    """List the models on this machine: bundled ones, then exports, newest first."""
    return [*(_ready(BUNDLED / name, "bundled") for name in bundled_names()), *local_models()]


def at_hand(model: str) -> Path:
    """Return the directory of a model on this machine, given that directory, its name or its vector space.

    Raises
    ------
    ModelNotFoundError
        If none of :func:`models_at_hand` has that name or space.
    """
    directory = Path(model).expanduser()
    if directory.exists():
        return directory
    models = models_at_hand()
    for found in models:
        if model in (found.manifest.name, found.manifest.space):
            return found.path
    hint = did_you_mean(model, (found.manifest.name for found in models))
    raise ModelNotFoundError(
        f"{model} is no model directory, nor the name of a model at hand: datum-clip model list shows those{hint}"
    )


def find_by_space(space: str) -> ModelDirectory:
    """Find the model on this machine with that vector space, f32 before other precisions.

    Raises
    ------
    ModelNotFoundError
        If there is none; names the space.
    """
    fitting = [model for model in models_at_hand() if model.manifest.space == space]
    if not fitting:
        raise ModelNotFoundError(
            f"no model at hand has the vector space {space}; name the one that made the vectors with --model"
        )
    return min(fitting, key=lambda model: model.manifest.precision != "f32")


def _from_directory(directory: Path) -> ModelDirectory:
    """Read a model directory, or make one of a directory that holds a model in another layout."""
    layout = find_layout(relative_names(directory))
    if layout is None:
        known = "; ".join(layout.description for layout in LAYOUTS)
        hidden = "; it hides the bundled model of that name: rename it" if str(directory) in bundled_names() else ""
        raise ModelNotFoundError(f"the directory {directory.resolve()} is none of: {known}{hidden}{ways_out()}")
    origin = Origin(directory.resolve().name, layout.kind)
    return _made(directory, layout, source_key(directory), origin)


def _from_hub(name: str, local_files_only: bool) -> ModelDirectory:
    """Find a model by its Hugging Face id: an export of it, or its files, to be exported."""
    wanted = HubId.parse(name)
    if wanted is None:
        hint = did_you_mean(name, (model.manifest.name for model in models_at_hand()))
        raise ModelNotFoundError(
            f"there is no directory {name}, nor can it be a model's name on a hub{ways_out()}{hint}"
        )
    for exported in local_models():
        source = exported.manifest.source
        if source.get("id") == wanted.id and wanted.revision in (None, source.get("revision")):
            return exported
    try:
        snapshot = fetch(wanted, local_files_only=local_files_only)
        if snapshot.layout.kind == "directory":
            verify_files(snapshot.path)
        origin = Origin(wanted.id, "hub", wanted.id, snapshot.commit)
        return _made(snapshot.path, snapshot.layout, f"{wanted.id}@{snapshot.commit}", origin)
    except (ModelNotFoundError, ImportError) as exc:
        raise ModelNotFoundError(f"the model {name} cannot be had: {exc}{ways_out()}") from exc


def _made(directory: Path, layout: Layout, key: str, origin: Origin) -> ModelDirectory:
    """Read a model directory, or make one of another layout, once for each key."""
    if layout.kind == "directory":
        return _ready(directory, "a model directory")
    log.info("%s is %s", directory, layout.description)

    def make(out: Path) -> None:
        # The only import of `making` here: those modules import this room's, not the other way round.
        from datumaro_clip.model.making import MAKERS

        log.info("making a model directory of %s, once; it is kept at %s", directory, out)
        MAKERS[layout.kind](directory, out, origin)

    return _ready(cached_export(key, make), f"made of {layout.description}, {directory}")


def _ready(directory: Path, route: str) -> ModelDirectory:
    """Read a model directory's manifest."""
    return ModelDirectory(directory, read_manifest(directory), route)


def ways_out() -> str:
    """Say what to do when a model cannot be found."""
    choices = [f"--model {name} (comes with datumaro-clip)" for name in bundled_names()]
    choices += [
        "--model DIR (a model directory, an optimum-cli export, ONNX encoders or a checkpoint)",
        "datum-clip model export NAME -o DIR on a machine that has it, and copy DIR here",
        "HF_ENDPOINT=URL for another hub",
    ]
    return ". Ways out: " + "; ".join(choices)


def exports_root() -> Path:
    """Return the directory where exports are kept; it need not exist."""
    return cache_root() / "models"


def cached_export(key: str, make: Callable[[Path], object]) -> Path:
    """Return the model directory for a key; make it if it is not there, or damaged.

    Parameters
    ----------
    key : str
        Identifies everything that the export depends on.
    make : callable
        Makes a model directory at the path that it is given.

    Raises
    ------
    ModelFormatError
        If a newer release made it, in a format that this one does not read; it stays.
    """
    target = exports_root() / safe_file_name(key)
    if not _is_whole(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock")):
            if not _is_whole(target):
                _clear(target)
                make(target)
    return target


def _is_whole(path: Path) -> bool:
    """Return whether a model directory is there with all its files."""
    try:
        read_manifest(path)
    except ModelFormatError as exc:
        if is_of_newer_release(path):
            raise ModelFormatError(
                f"{path} was made by a newer release of datumaro-clip, which this one does not read; "
                "update datumaro-clip, or set DATUMARO_CLIP_CACHE to another directory"
            ) from exc
        return False
    return True


def _clear(target: Path) -> None:
    """Remove a damaged export and its temporary siblings left by killed processes; the target must be locked."""
    # The names that files.temporary_sibling gives.
    temporary = re.compile(rf"\.{re.escape(target.name)}\.\d+-[0-9a-f]+\.tmp")
    for path in target.parent.iterdir():
        if path == target or temporary.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def source_key(directory: Path) -> str:
    """Return a key that changes with the name, size or time of any file of a directory."""
    entries = []
    for name in sorted(relative_names(directory)):
        status = (directory / name).stat()
        entries.append((name, status.st_size, status.st_mtime_ns))
    text = json.dumps([str(directory.resolve()), entries])
    return f"{safe_file_name(directory.resolve().name)}@{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def local_models() -> Iterator[ModelDirectory]:
    """Yield the exports that can be read, newest first."""
    root = exports_root()
    # A hidden directory is an export that a process has not finished.
    paths = [path for path in root.iterdir() if path.is_dir() and path.name[0] != "."] if root.is_dir() else []
    for path in sorted(paths, key=_changed_at, reverse=True):
        try:
            manifest = read_manifest(path)
        except ModelFormatError:
            continue  # Damaged, just removed by another process, or of another release.
        commit = str(manifest.source.get("revision") or "unknown")[:12]
        yield ModelDirectory(path, manifest, f"exported before, commit {commit}")


def _changed_at(path: Path) -> float:
    """Return when a directory was last changed; 0 if another process has just removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
