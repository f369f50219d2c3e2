"""Every error that datumaro-clip raises, as one tree.

Each leaf is also the builtin exception that a caller would expect, so that ``except ValueError`` and
``except DatumaroClipError`` both work. Messages name the item or file, what is wrong with it and the cure::

    DatumaroClipError
    ├── OptionError (ValueError)               an option's value cannot be used
    ├── MissingDependencyError (ImportError)   an optional library is not installed
    ├── PluginError (ImportError)              what another package offers cannot be used
    ├── ImageError (ValueError)                a picture cannot be decoded; carries ``reason``
    ├── TextError (ValueError)                 a text cannot be tokenised
    ├── VectorError
    │   ├── InvalidVectorError (ValueError)    wrong shape or dtype, not finite, or zero length
    │   └── SpaceMismatchError (ValueError)    vectors of two spaces would be compared
    ├── ModelError
    │   ├── ModelNotFoundError (LookupError)   no model by this name can be had
    │   ├── ModelFormatError (ValueError)      a model directory that cannot be trusted or read
    │   ├── ModelExportError (RuntimeError)    a checkpoint could not be exported
    │   ├── CertificateError (RuntimeError)    a model misses what was required of it
    │   ├── DeviceNotFoundError (LookupError)  OpenVINO has no such device
    │   ├── SelfCheckError (RuntimeError)      a device answers wrongly on known inputs
    │   └── InferenceError (RuntimeError)      a batch could not be computed
    ├── StoreError
    │   ├── StoreNotFoundError (FileNotFoundError)
    │   ├── StoreFormatError (ValueError)      a foreign file or an unknown version
    │   ├── StoreCorruptError (ValueError)     contents that contradict their checksum or header
    │   └── StoreWriteError (OSError)          full disk, no permission, another writer
    ├── IndexingError
    │   ├── IndexCacheError (OSError)          an index's files cannot be written, or are damaged
    │   ├── EngineError (ConnectionError)      an engine cannot be reached, refuses, or takes too long
    │   └── EngineMismatchError (ValueError)   an engine holds something else than this store's vectors
    ├── CacheError (OSError)                   the vector cache cannot be used
    ├── ScratchError (OSError)                 the temporary directory is full or may not be written
    ├── DecisionError (ValueError)             a decisions file does not fit the dataset
    │   └── DecisionConflictError              somebody else has decided meanwhile
    ├── AddressError (ConnectionError)         a network address that must not be connected to
    ├── TableError (ValueError)                a table, or an archive of pictures, cannot be read or written
    ├── PlanError (ValueError)                 a plan cannot be read, or does not fit the dataset or the model
    └── ClusterError (ConnectionError)         a cluster cannot be reached
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

_ELSEWHERE = "name another place"
_CURES = {
    errno.EACCES: f"check who may read and write it, or {_ELSEWHERE}",
    errno.EPERM: f"check who may read and write it, or {_ELSEWHERE}",
    errno.EROFS: _ELSEWHERE,
    errno.ENOSPC: f"make room, or {_ELSEWHERE}",
    errno.EDQUOT: f"make room, or {_ELSEWHERE}",
    errno.ENOENT: "check the path",
    errno.EEXIST: f"it is in the way; {_ELSEWHERE}",
    errno.ENOTDIR: "name a directory",
    errno.EISDIR: "name a file",
}


class DatumaroClipError(Exception):
    """Base of every error of this package."""


class OptionError(DatumaroClipError, ValueError):
    """An option's value cannot be used."""


class MissingDependencyError(DatumaroClipError, ImportError):
    """An optional library is not installed.

    Parameters
    ----------
    package : str
        The module that could not be imported.
    extra : str or None
        The extra of datumaro-clip that installs it; None for a library that datumaro-clip itself requires.
    purpose : str
        What it is needed for, as in "exporting a checkpoint".
    """

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        target = f"'datumaro-clip[{extra}]'" if extra else package
        super().__init__(f"{purpose} needs {package}: pip install {target}")
        self.package = package
        self.extra = extra


class PluginError(DatumaroClipError, ImportError):
    """An encoder or a kind of store that another package offers cannot be used."""


class ImageError(DatumaroClipError, ValueError):
    """A picture cannot be decoded.

    Parameters
    ----------
    reason : str
        Short machine-readable reason, counted in summaries: ``missing``, ``unreadable``, ``truncated``,
        ``too_large``, ``empty``, ``not_a_file``, ``permission``, ``no_image``, ``inference``, ``outside``,
        ``another_size``.
    message : str
        One sentence that names the picture and the cure.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class TextError(DatumaroClipError, ValueError):
    """A text cannot be tokenised."""


class VectorError(DatumaroClipError):
    """Something is wrong with vectors."""


class InvalidVectorError(VectorError, ValueError):
    """Vectors of the wrong shape or dtype, not finite, or of zero length."""


class SpaceMismatchError(VectorError, ValueError):
    """Vectors of two vector spaces would be compared or mixed."""


class ModelError(DatumaroClipError):
    """Something is wrong with a model or the device that runs it."""


class ModelNotFoundError(ModelError, LookupError):
    """There is no model of this name, or it cannot be downloaded."""


class ModelFormatError(ModelError, ValueError):
    """A model directory that cannot be trusted or read."""


class ModelExportError(ModelError, RuntimeError):
    """A checkpoint could not be exported."""


class CertificateError(ModelError, RuntimeError):
    """A model misses what was required of it."""


class DeviceNotFoundError(ModelError, LookupError):
    """OpenVINO has no device by this name here."""


class SelfCheckError(ModelError, RuntimeError):
    """A device answers wrongly on inputs whose vectors are known."""


class InferenceError(ModelError, RuntimeError):
    """A batch could not be computed."""


class StoreError(DatumaroClipError):
    """Something is wrong with an embedding store."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """There is no store at this path."""


class StoreFormatError(StoreError, ValueError):
    """A foreign file, or a version of the format that this release does not know."""


class StoreCorruptError(StoreError, ValueError):
    """Contents that contradict their checksum or header; the message ends with the only cure."""

    def __str__(self) -> str:
        return f"{super().__str__()}. Restore the store from a copy, or export the dataset again"


class StoreWriteError(StoreError, OSError):
    """A store cannot be written: full disk, no permission, another writer."""


class IndexingError(DatumaroClipError):
    """Something is wrong with a vector index."""


class IndexCacheError(IndexingError, OSError):
    """An index's files cannot be written, or are damaged."""


class EngineError(IndexingError, ConnectionError):
    """An engine cannot be reached, refuses what it is asked, or takes too long."""


class EngineMismatchError(IndexingError, ValueError):
    """An engine's index holds something else than this store's vectors."""


class CacheError(DatumaroClipError, OSError):
    """The vector cache cannot be used."""


class ScratchError(DatumaroClipError, OSError):
    """The temporary directory is full or may not be written."""


class DecisionError(DatumaroClipError, ValueError):
    """A decisions file does not fit the dataset."""


class DecisionConflictError(DecisionError):
    """Another user changed the decisions after they were loaded: load them, and decide again."""


class AddressError(DatumaroClipError, ConnectionError):
    """A network address that must not be connected to."""


class TableError(DatumaroClipError, ValueError):
    """A table, or an archive of pictures, cannot be read or written."""


class PlanError(DatumaroClipError, ValueError):
    """A plan cannot be read, or does not fit the dataset or the model of a machine."""


class ClusterError(DatumaroClipError, ConnectionError):
    """A cluster cannot be reached."""


def with_cure(error: BaseException) -> str:
    """Return an error's message; for an error of the file system, the file, what is wrong with it and the cure."""
    if not isinstance(error, OSError) or isinstance(error, DatumaroClipError) or error.errno not in _CURES:
        return str(error)
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror}; {_CURES[error.errno]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the known name nearest to it, or nothing if none is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
