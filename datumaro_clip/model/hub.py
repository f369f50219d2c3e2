"""Models of the Hugging Face hub: find them in its local cache, or download them, pinned by commit."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from datumaro_clip.errors import ModelNotFoundError
from datumaro_clip.model.layouts import Layout, find_layout, is_complete, relative_names

log = logging.getLogger(__name__)

_ID = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*")


@dataclass(frozen=True)
class HubId:
    """A model on the hub: its id, and a revision (branch, tag or commit) or None for the newest."""

    id: str
    revision: str | None

    @classmethod
    def parse(cls, text: str) -> HubId | None:
        """Parse ``owner/name`` or ``owner/name@revision``; None if it cannot be an id."""
        name, _, revision = text.partition("@")
        return cls(name, revision or None) if _ID.fullmatch(name) else None

    def __str__(self) -> str:
        return f"{self.id}@{self.revision}" if self.revision else self.id


@dataclass(frozen=True)
class Snapshot:
    """A model's files on this machine: their directory, commit and layout."""

    path: Path
    commit: str
    layout: Layout


def fetch(wanted: HubId, *, local_files_only: bool = False) -> Snapshot:
    """Find a model's files in the hub's cache on this machine, or download them.

    After a dropped connection, the download goes on where it stopped. After a killed process, it goes on with the first
    incomplete file: the hub's client keeps no part of a file beyond its process. The client honours ``HF_HOME``,
    ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE``.

    Raises
    ------
    ModelNotFoundError
        If neither has the model; says why.
    """
    from huggingface_hub import constants

    if cached := find_cached(wanted):
        return cached
    if local_files_only or constants.HF_HUB_OFFLINE:
        ask = "--local-files-only" if local_files_only else "HF_HUB_OFFLINE"
        raise ModelNotFoundError(f"{wanted} is not on this machine, and {ask} forbids to download it")
    return _download(wanted)


def find_cached(wanted: HubId) -> Snapshot | None:
    """Find a model in the hub's cache on this machine; None if a file that is needed is missing."""
    from huggingface_hub import snapshot_download

    try:
        path = Path(snapshot_download(wanted.id, revision=wanted.revision, local_files_only=True))
    except (OSError, ValueError):  # The client's errors for a model that is not there, and for an impossible id.
        return None
    layout = find_layout(relative_names(path))
    return Snapshot(path, path.name, layout) if layout and is_complete(path) else None


def _download(wanted: HubId) -> Snapshot:
    """Download a revision, or the newest commit, of a model: only the files of its first layout."""
    from huggingface_hub import HfApi

    api = HfApi(library_name="datumaro-clip")
    try:
        info = api.model_info(wanted.id, revision=wanted.revision)
        names = {entry.rfilename for entry in info.siblings or []}
        layout = find_layout(names)
        if layout is None or info.sha is None:
            raise ModelNotFoundError(f"{wanted} on {api.endpoint} holds no model that can be read")
        files = layout.wanted(names)
        log.info("downloading %s (commit %s, %d files) from %s", wanted.id, info.sha[:12], len(files), api.endpoint)
        path = Path(api.snapshot_download(wanted.id, revision=info.sha, allow_patterns=files))
    except ModelNotFoundError:
        raise
    except Exception as exc:  # HTTP, sockets, a full disk: the client has no common base for its errors.
        raise ModelNotFoundError(f"{wanted} cannot be had from {api.endpoint}: {_reason(exc)}") from exc
    return Snapshot(path, info.sha, layout)


def _reason(exc: Exception) -> str:
    """Say in a few words why a download failed."""
    from huggingface_hub import errors

    if isinstance(exc, errors.GatedRepoError):
        return "its owner grants access on request; ask there, then log in with: hf auth login"
    if isinstance(exc, errors.RevisionNotFoundError):
        return "it has no such revision"
    if getattr(getattr(exc, "response", None), "status_code", None) in (401, 403):
        return "there is no such model, or it is private; log in with: hf auth login"
    if isinstance(exc, errors.RepositoryNotFoundError):
        return "there is no such model"
    lines = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {lines[0] if lines else 'no details'}"
