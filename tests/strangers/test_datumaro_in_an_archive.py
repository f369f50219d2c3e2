"""Datumaro imported from a zip archive, whose modules all have one loader: only Datumaro's own are touched."""

from __future__ import annotations

import zipfile
from pathlib import Path

from commands import run_python

MODULES = {
    "datumaro/__init__.py": "",
    "datumaro/plugins/__init__.py": "",
    "datumaro/plugins/specs.py": "def get_lazy_plugins():\n    return ['builtin']\n",
    "other.py": "value = 1\n",
    "datumaro/util/__init__.py": "",
}
PROGRAM = """
import sys
sys.path.insert(0, 'all.zip')
from datumaro_clip import _autoload
extended = []
_autoload._EXTENSIONS = {'datumaro.plugins.specs': lambda module: extended.append(module.__name__)}
import datumaro.plugins.specs, other, datumaro.util, importlib, inspect
print(extended, other.value)
loaders = {type(m.__loader__).__name__ for m in (datumaro.plugins.specs, other, datumaro.util)}
print(loaders, 'exec_module' in vars(other.__loader__))
print(inspect.getsource(datumaro.plugins.specs).splitlines()[0])
importlib.reload(datumaro.plugins.specs)
print(extended)
"""


def test_a_loader_that_others_share_is_left_as_it_is(tmp_path: Path) -> None:
    """Each module that was imported from the archive afterwards was taken for Datumaro's, and extended."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, text in MODULES.items():
            archive.writestr(name, text)
    assert run_python(PROGRAM, cwd=tmp_path).splitlines() == [
        "['datumaro.plugins.specs'] 1",
        "{'zipimporter'} False",
        "def get_lazy_plugins():",
        "['datumaro.plugins.specs', 'datumaro.plugins.specs']",
    ]
