"""``datum-clip doctor``: what is here, what is missing, and the command that mends it."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from pathlib import Path

from datumaro_clip.cli.arguments import add_json
from datumaro_clip.cli.printing import say, say_json
from datumaro_clip.errors import MissingDependencyError, with_cure
from datumaro_clip.model.devices import list_devices
from datumaro_clip.model.openvino import core
from datumaro_clip.model.resolve import default_model, models_at_hand
from datumaro_clip.system.files import cache_root
from datumaro_clip.system.versions import library_version, library_versions

NAME = "doctor"
HELP = "versions, devices, models and caches here, and what is missing"

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints-export.txt"
_REQUIRED = ("datumaro", "openvino", "numpy", "pillow", "h5py", "tokenizers", "huggingface_hub")
_OPTIONAL = {
    "export": ("torch", "transformers", "optimum-intel", "nncf"),
    "openclip": ("open_clip_torch",),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's one argument."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print everything; the exit status is 1 if something that every run needs is missing."""
    root = cache_root()
    sections = [
        ("versions", "versions", _versions()),
        ("devices", "devices", _devices()),
        ("models", "models at hand", _models()),
        ("export", "export, beside the tested set", _outside_the_tested_set()),
        ("caches", f"caches below {root}", _caches(root)),
        ("missing", "missing", _missing()),
    ]
    told = [(key, title, list(_as_far_as_readable(lines))) for key, title, lines in sections]
    if args.json:
        say_json({key: lines for key, _, lines in told})
    for _, title, lines in told if not args.json else ():
        say(f"{title}:")
        for line in lines or ["nothing"]:
            say(f"  {line}")
    return int(any(library_version(name) is None for name in _REQUIRED))


def _as_far_as_readable(lines: Iterator[str]) -> Iterator[str]:
    """The lines, and why there are no more where the file system refuses."""
    try:
        yield from lines
    except OSError as exc:
        yield with_cure(exc)


def _versions() -> Iterator[str]:
    """Python, this package and the libraries that are installed."""
    yield f"Python {platform.python_version()}, {platform.platform()}"
    optional = (name for names in _OPTIONAL.values() for name in names)
    for name, found in library_versions(("datumaro-clip", *_REQUIRED, *optional)).items():
        yield f"{name} {found}"


def _devices() -> Iterator[str]:
    """OpenVINO's devices, with what each computes in natively."""
    try:
        devices = list_devices(core())
    except MissingDependencyError as exc:
        yield str(exc)
        return
    for device in devices:
        yield f"{device}: {', '.join(device.precisions)}"


def _models() -> Iterator[str]:
    """Models that need no download, and the default."""
    yield f"the default is {default_model()}"
    for model in models_at_hand():
        yield f"{model.manifest.name} ({model.manifest.precision}): {model.path}"


def _caches(root: Path) -> Iterator[str]:
    """Sizes of what is kept; each folder may be removed at any time, and is made again when needed."""
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.exists() else []
    for folder in folders:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        yield f"{folder.name}: {size / 1e6:.1f} MB"
    if not folders:
        yield "nothing yet"


def _outside_the_tested_set() -> Iterator[str]:
    """Libraries of the extra ``export`` that are here in another version than exports were tested with."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    # Without the build's name, as in 2.13.0+cpu.
    found = {name: version.partition("+")[0] for name, version in library_versions(pinned).items()}
    others = {name: version for name, version in found.items() if version != pinned[name]}
    for name, version in others.items():
        yield f"{name} {version}, tested was {pinned[name]}"
    if not others:
        yield "nothing differs"
    else:
        yield f"to have the tested set: pip install -c {CONSTRAINTS} 'datumaro-clip[export]'"


def _missing() -> Iterator[str]:
    """What is not installed, and how to install it."""
    required = [name for name in _REQUIRED if library_version(name) is None]
    if required:
        yield f"{', '.join(required)}: pip install --force-reinstall datumaro-clip"
    for extra, names in _OPTIONAL.items():
        absent = [name for name in names if library_version(name) is None]
        if absent:
            yield f"{', '.join(absent)} (optional): pip install 'datumaro-clip[{extra}]'"
