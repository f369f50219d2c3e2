"""Files that appear whole or not at all, their digests, and names that stay inside their directory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from datumaro_clip.errors import ImageError, ScratchError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BLOCK = 1 << 20
_MOST_JSON = 1 << 28
# NAME_MAX is 255 bytes on every common file system; room is left for a suffix and a temporary's prefix.
_NAME_BYTES = 180
_UNSAFE = re.compile(r"[^\w.\-]+")


def cache_root() -> Path:
    """Return the directory below which models and vectors are cached; it need not exist yet.

    ``DATUMARO_CLIP_CACHE`` where that is set, else ``datumaro-clip`` in the platform's cache directory:
    ``XDG_CACHE_HOME`` or ``~/.cache``, ``~/Library/Caches`` on macOS, ``LOCALAPPDATA`` on Windows.
    """
    if chosen := os.environ.get("DATUMARO_CLIP_CACHE"):
        return Path(chosen)
    home = Path.home()
    platform_default = {"win32": home / "AppData" / "Local", "darwin": home / "Library" / "Caches"}
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    base = os.environ.get(variable)
    return Path(base or platform_default.get(sys.platform, home / ".cache")) / "datumaro-clip"


def temporary_sibling(path: Path) -> Path:
    """Return a hidden name beside ``path`` that no other process chooses."""
    return path.with_name(f".{_cut(path.name, _NAME_BYTES)}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary sibling to write to; it becomes ``path`` when the block ends without an error.

    Makes the parent directories. After an error nothing is left behind, and what was at ``path`` before stays.

    Parameters
    ----------
    path : path
    durable : bool
        Wait until the bytes are on the disk, so that they survive a power cut; for thousands of files this takes
        minutes.

    Raises
    ------
    OSError
        Whatever the file system says: full, no permission, a missing drive.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    try:
        with _naming_target(target, temporary):
            yield temporary
            if durable:
                _sync(temporary)
            os.replace(temporary, target)
            if durable:
                _sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _naming_target(target: Path, temporary: Path) -> Iterator[None]:
    """Let errors name the target instead of the temporary file, or of no file, as the error of a full disk does."""
    try:
        yield
    except OSError as exc:
        if exc.errno is not None:
            exc.filename = str(exc.filename or target).replace(str(temporary), str(target))
        raise


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a binary file whose contents appear at ``path`` whole, or not at all; as :func:`atomic_path`."""
    with atomic_path(path, durable=durable) as temporary, temporary.open("xb") as file:
        yield file


def write_text(path: str | os.PathLike[str], text: str, *, durable: bool = True) -> None:
    """Write a UTF-8 text file whole, line ends as in ``text``; as :func:`atomic_path`."""
    with atomic_write(path, durable=durable) as file:
        file.write(text.encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not JSON, is nested too deep, or is larger than 256 MiB; no file of a model is that large.
    """
    if os.path.getsize(path) > _MOST_JSON:
        raise ValueError(f"it is larger than {_MOST_JSON >> 20} MiB")
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError as exc:
        raise ValueError("it is nested too deep") from exc


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not TOML, or nested too deep.
    """
    try:
        found: dict[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        return found
    except RecursionError as exc:
        raise ValueError("it is nested too deep") from exc


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make an empty directory beside ``path`` that becomes ``path`` when the block ends without an error.

    Parameters
    ----------
    path : path
        An empty directory there is replaced.

    Raises
    ------
    FileExistsError
        If anything else is there; raised before the block begins.
    """
    target = Path(path)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise FileExistsError(f"{target} exists and is not empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    try:
        with _naming_target(target, temporary):
            temporary.mkdir()
            yield temporary
            for file in filter(Path.is_file, temporary.rglob("*")):
                _sync(file)
            with suppress(FileNotFoundError):
                target.rmdir()
            os.replace(temporary, target)
            _sync_directory(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """Wait until a rename is on the disk, where the system lets directories be opened."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def folder_size(path: Path) -> int:
    """Return the size in bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    return _digest(path, hashlib.sha256()).hex()


def blake2b_file(path: str | os.PathLike[str]) -> bytes:
    """Return the BLAKE2b-256 of a file's bytes, 32 bytes; faster than SHA-256, for keys of caches."""
    return _digest(path, hashlib.blake2b(digest_size=32))


def blake2b_bytes(data: bytes) -> bytes:
    """Return the BLAKE2b-256 of bytes in memory: equal to :func:`blake2b_file` of a file that holds them."""
    return hashlib.blake2b(data, digest_size=32).digest()


def _digest(path: str | os.PathLike[str], state: hashlib._Hash | hashlib.blake2b) -> bytes:
    """Digest a file, block by block."""
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.digest()


def is_safe_relative(name: str) -> bool:
    """Return whether a name read from a file stays inside the directory that it is joined to, on any system.

    Absolute names, drives, backslashes, control characters, parts that are empty or all dots, and the device names
    of Windows do not.
    """
    parts = name.split("/")
    return (
        all(part.strip(". ") for part in parts)
        and name.isprintable()
        and not re.search(r'[\\:*?"<>|]', name)
        and not PurePosixPath(name).is_absolute()
        and not any(_is_reserved(part) for part in parts)
    )


def _is_reserved(part: str) -> bool:
    """Return whether Windows takes a file name for a device."""
    return bool(re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d) *", part.partition(".")[0]))


def safe_file_name(text: str) -> str:
    """Turn any text into a readable file name of at most 180 bytes; different texts get different names.

    A text that is a good file name already stays as it is; any other ends with eight hexadecimal digits of its
    SHA-256.
    """
    name = _UNSAFE.sub("-", text).strip(".-")
    if name and name == text and len(name.encode()) <= _NAME_BYTES and not _is_reserved(name):
        return name
    readable = f"x-{name}" if not name or _is_reserved(name) else name
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{_cut(readable, _NAME_BYTES - 9)}-{digest[:8]}"


def _cut(name: str, size: int) -> str:
    """Cut a name to at most ``size`` bytes of UTF-8."""
    return name.encode(errors="surrogatepass")[:size].decode(errors="ignore")


def copy_picture(source: Path, target: Path) -> None:
    """Copy a picture's bytes; a source that cannot be read and a target that cannot be written are two errors.

    Raises
    ------
    ImageError
        If the source cannot be read.
    OSError
        If the target cannot be written.
    """
    with reading_picture(source):
        opened = source.open("rb")
    with opened, target.open("wb") as copy:
        while True:
            with reading_picture(source):
                block = opened.read(_BLOCK)
            if not block:
                return
            copy.write(block)


@contextmanager
def reading_picture(source: object) -> Iterator[None]:
    """Turn errors of the file system, while a picture's file is read, into :class:`ImageError` with a reason."""
    try:
        yield
    except ImageError:
        raise
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ImageError("missing", f"{source}: there is no such file; check the path") from exc
    except PermissionError as exc:
        raise ImageError("permission", f"{source}: it may not be read; check the file's permissions") from exc
    except OSError as exc:
        raise ImageError("unreadable", f"{source}: it cannot be read ({exc.strerror}); check the disk") from exc
    except ValueError as exc:  # A name that no file can have.
        raise ImageError("unreadable", f"{source!r}: {exc}") from exc


@contextmanager
def scratch_errors() -> Iterator[None]:
    """Turn errors of the file system, while a temporary file is written, into :class:`ScratchError` with the cure."""
    try:
        yield
    except OSError as exc:
        raise ScratchError(
            f"the temporary directory {tempfile.gettempdir()} cannot be written: {exc.strerror or exc}; "
            "make room there, or name another directory in TMPDIR"
        ) from exc
