"""Print the lowest version of each library that the package asks for, as constraints for pip.

python tools/lowest.py > lowest.txt && pip install -c lowest.txt -e '.[test]'
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[^\]]*\])?>=(?P<lowest>[\w.]+)[^;]*(?P<marker>;.*)?")


def lowest(project: Path) -> list[str]:
    """``name==version.*`` for each dependency with a lower bound, its marker kept."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    found = map(_REQUIREMENT.fullmatch, table["dependencies"])
    return sorted({f"{each['name']}=={each['lowest']}.*{each['marker'] or ''}" for each in found if each})


if __name__ == "__main__":
    print(*lowest(Path(__file__).resolve().parents[1] / "pyproject.toml"), sep="\n")
