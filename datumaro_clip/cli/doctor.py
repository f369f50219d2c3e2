"""``datum-clip doctor``: print versions, devices, defaults, models and caches, and how to install what is missing."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from datumaro_clip.cli.help import plugin_class
from datumaro_clip.cli.parsing import add_json
from datumaro_clip.cli.printing import say, say_json
from datumaro_clip.curate import integrity
from datumaro_clip.curate.vector_options import EMBEDDING_OPTIONS
from datumaro_clip.embedding import embed_texts
from datumaro_clip.errors import DatumaroClipError, MissingDependencyError, OptionError, with_cure
from datumaro_clip.host.configured import defaults_in_force
from datumaro_clip.host.specs import PLUGINS
from datumaro_clip.model.devices import list_devices
from datumaro_clip.model.loading import load_model
from datumaro_clip.model.openvino import core
from datumaro_clip.model.resolve import models_at_hand
from datumaro_clip.options import Option
from datumaro_clip.store import kind_names
from datumaro_clip.system.files import cache_root, folder_size
from datumaro_clip.system.machine import available_processors, library_version, library_versions

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints-export.txt"
_REQUIRED = ("datumaro", "openvino", "numpy", "pillow", "h5py", "tokenizers", "huggingface_hub")
#: What each extra installs: the module to import, by the distribution's name.
EXTRAS = {
    "export": {
        "torch": "torch",
        "transformers": "transformers",
        "optimum-intel": "optimum.intel",
        "nncf": "nncf",
        "safetensors": "safetensors",
    },
    "openclip": {"open_clip_torch": "open_clip"},
    "ann": {"usearch": "usearch"},
    "download": {"httpx": "httpx"},
    "opensearch": {"opensearch-py": "opensearchpy"},
    "pgvector": {"psycopg": "psycopg"},
    "ray": {"ray": "ray"},
    "s3": {"fsspec": "fsspec", "s3fs": "s3fs"},
    "serve": {
        "fastapi": "fastapi",
        "prometheus-client": "prometheus_client",
        "python-multipart": "python_multipart",
        "uvicorn": "uvicorn",
    },
}
# Tries imports one by one, and prints the first that fails.
_TRY = """
import sys
for name in sys.argv[1:]:
    try:
        __import__(name)
    except Exception as exc:
        sys.exit(f"{name}: {type(exc).__name__}: {exc}".splitlines()[0])
"""
_PATIENCE = 120.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's one argument."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print everything; return 1 if a library is missing that every run needs."""
    root = cache_root()
    sections = [
        ("versions", "versions", _versions()),
        ("devices", "devices", _devices()),
        ("defaults", "defaults in force", _defaults()),
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
    """Return the lines; if the file system refuses to be read, the last line says why."""
    try:
        yield from lines
    except OSError as exc:
        yield with_cure(exc)


def _versions() -> Iterator[str]:
    """Return the versions of Python, of this package and of the libraries that are installed."""
    yield f"Python {platform.python_version()}, {platform.platform()}"
    optional = (name for names in EXTRAS.values() for name in names)
    for name, found in library_versions(("datumaro-clip", *_REQUIRED, *optional)).items():
        yield f"{name} {found}"


def _devices() -> Iterator[str]:
    """Return OpenVINO's devices, with each one's native precisions and whether it computes at all."""
    try:
        devices = list_devices(core())
    except MissingDependencyError as exc:
        yield str(exc)
        return
    bundled = models_at_hand()[0]
    for device in devices:
        try:
            embed_texts(["a red mug"], load_model(bundled.path, device.name))
            answer = "answers as it should"
        except DatumaroClipError as exc:
            answer = f"fails: {exc}"
        yield f"{device}: {', '.join(device.precisions)}; {answer}"


def _defaults() -> Iterator[str]:
    """Return the defaults that the configuration file, the environment or this package sets."""
    try:
        for default in defaults_in_force(option_tables()):
            yield str(default)
    except OptionError as exc:
        yield str(exc)


def option_tables() -> dict[str, Sequence[Option]]:
    """Return the options of every tool and store that a configuration file may name."""
    transforms = [spec for spec in PLUGINS if spec.kind == "Transform"]
    return {
        **{spec.name: plugin_class(spec).options() for spec in transforms},
        **dict.fromkeys(kind_names(), EMBEDDING_OPTIONS),
        "clip_integrity": integrity.OPTIONS,
    }


def _models() -> Iterator[str]:
    """Return the models that need no download."""
    for model in models_at_hand():
        yield f"{model.manifest.name} ({model.manifest.precision}): {model.path}"


def _caches(root: Path) -> Iterator[str]:
    """Return the sizes of the caches; each folder may be removed at any time, and is made again when needed."""
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.exists() else []
    for folder in folders:
        yield f"{folder.name}: {folder_size(folder) / 1e6:.1f} MB"
    if not folders:
        yield "nothing yet"


def _outside_the_tested_set() -> Iterator[str]:
    """Return the libraries of the extra ``export`` whose version is not the one that exports were tested with."""
    if not library_versions(EXTRAS.get("export", ())):
        yield "not installed"
        return
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
    """Return what is not installed or cannot be imported, and the command that mends it."""
    required = [name for name in _REQUIRED if library_version(name) is None]
    if required:
        yield f"{', '.join(required)}: pip install --force-reinstall datumaro-clip"
    absent = {
        extra: [name for name, module in modules.items() if not _is_installed(module)]
        for extra, modules in EXTRAS.items()
    }
    lacking = [extra for extra, names in absent.items() if names]
    installed = [extra for extra in EXTRAS if extra not in lacking]
    with ThreadPoolExecutor(available_processors()) as pool:
        found = pool.map(_fault, [list(EXTRAS[extra].values()) for extra in installed])
        faults = dict(zip(installed, found, strict=True))
    for extra, names in absent.items():
        if names:
            yield f"{extra} (optional): {', '.join(names)} not installed"
        elif fault := faults[extra]:
            yield f"{extra} (optional): {fault}; pip install --force-reinstall 'datumaro-clip[{extra}]'"
    if lacking:
        yield f"to have what is optional: pip install 'datumaro-clip[{','.join(lacking)}]'"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # The package that the module is in.
        return False


def _fault(modules: Sequence[str]) -> str:
    """Import modules in a process of their own, which one of them may crash; return what is wrong, or nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _TRY, *modules],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"importing {', '.join(modules)} takes more than {_PATIENCE:.0f} s"
    if done.returncode == 0:
        return ""
    if done.returncode != 1:
        return f"importing {', '.join(modules)} ends Python with status {done.returncode}"
    return done.stderr.strip().splitlines()[-1]
