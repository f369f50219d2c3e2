"""The start-up hook: Datumaro finds the plugins, and nothing else notices that we are there."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from commands import run_command, run_python

import datumaro_clip._autoload as autoload


def test_start_up_imports_nothing_of_ours_but_the_hook():
    code = "import sys; print(sorted(m for m in sys.modules if m.startswith(('datumaro', 'numpy', 'openvino'))))"
    assert run_python(code).strip() == "['datumaro_clip', 'datumaro_clip._autoload']"


def test_hook_needs_the_standard_library_only():
    tree = ast.parse(Path(autoload.__file__).read_text(encoding="utf-8"))
    imported = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert imported
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


def test_environment_variable_switches_the_hook_off():
    code = "import sys; print('datumaro_clip' in sys.modules)"
    assert run_python(code, DATUMARO_CLIP_AUTOLOAD="0").strip() == "False"


def test_datum_lists_the_transform_and_the_export_command():
    assert "clip_embed" in run_command("datum", "transform", "--help").stdout
    assert "Export a dataset in some format" in run_command("datum", "--help").stdout


def test_datum_validate_takes_the_validator():
    assert "clip_integrity" in run_command("datum", "validate", "--help").stdout


def test_dataset_knows_the_transform_with_nothing_imported_before():
    code = """
from datumaro.components.dataset import Dataset
print("clip_embed" in Dataset.from_iterable([]).env.transforms)
"""
    assert run_python(code).strip() == "True"


def test_explicit_import_joins_an_environment_that_was_read_already():
    code = """
from datumaro.components.environment import DEFAULT_ENVIRONMENT as env, Environment
assert "clip_embed" not in env.transforms
import datumaro_clip
print("clip_embed" in env.transforms, "clip_embed" in Environment().transforms)
"""
    assert run_python(code, DATUMARO_CLIP_AUTOLOAD="0").strip() == "True True"


def test_unknown_datumaro_loses_the_plugins_with_one_warning(tmp_path: Path):
    package = tmp_path / "datumaro"
    for name in ("", "plugins", "cli"):
        (package / name).mkdir(exist_ok=True)
        (package / name / "__init__.py").touch()
    (package / "plugins" / "specs.py").touch()
    (package / "cli" / "commands.py").touch()
    code = "import sys; sys.path.insert(0, '.'); import datumaro.plugins.specs, datumaro.cli.commands; print('alive')"
    printed = run_python(code, cwd=tmp_path)
    assert "alive" in printed
    assert printed.count("RuntimeWarning") == 1


def test_hook_is_installed_once():
    autoload.install()
    autoload.install()
    assert sum(type(finder).__name__ == "_Finder" for finder in sys.meta_path) == 1


def test_datumaros_own_commands_load_little_of_this_package():
    code = """
import atexit, sys
from datumaro.cli.__main__ import main
atexit.register(lambda: print(*(name for name in sys.modules if name.startswith("datumaro_clip."))))
main(["--help"])
"""
    loaded = run_python(code).splitlines()[-1].split()
    assert "datumaro_clip.host.datum_main" in loaded
    assert [name for name in loaded if name.split(".")[1] in ("embedding", "images", "model", "store")] == []
