"""The version of this source tree: the tag's, else the one that CHANGELOG.md begins with.

    python tools/version.py                 print it
    python tools/version.py --check v0.2.0  fail unless CHANGELOG.md begins with that release, and its date

The build asks here, so that a version is written in one place, the changelog. Standard library only.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_HEADING = re.compile(r"^## (?P<version>\d+\.\d+\.\d+) – (?P<date>unreleased|\d{4}-\d\d-\d\d)$", re.MULTILINE)


def version(root: Path = ROOT) -> str:
    """Return a source distribution's version, else that of the commit's tag (``v0.2.0``), else the changelog's first.

    A version that is not released yet ends in ``.dev0``. Without tags or git, the changelog decides.
    """
    if (root / "PKG-INFO").is_file():
        found = re.search(r"^Version: (.+)$", (root / "PKG-INFO").read_text(encoding="utf-8"), re.MULTILINE)
        assert found, "PKG-INFO has a version"
        return found[1]
    tag = _tag(root)
    if tag:
        return tag.removeprefix("v")
    number, date = first_section(root)
    return f"{number}.dev0" if date == "unreleased" else number


def first_section(root: Path = ROOT) -> tuple[str, str]:
    """Return the version that the changelog begins with, and its date or ``unreleased``."""
    found = _HEADING.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit("CHANGELOG.md: no heading is as '## 0.2.0 – 2026-12-01' or '## 0.2.0 – unreleased'")
    return found["version"], found["date"]


def _tag(root: Path) -> str:
    """Return the release tag of the commit that is checked out; empty if there is none."""
    try:
        done = subprocess.run(
            ["git", "describe", "--exact-match", "--tags", "--match", "v[0-9]*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git here
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def check(tag: str, root: Path = ROOT) -> None:
    """End with status 1 unless the changelog begins with the release that a tag names."""
    number, date = first_section(root)
    if f"v{number}" != tag or date == "unreleased":
        raise SystemExit(f"the tag is {tag}, but CHANGELOG.md begins with {number} – {date}")


def main() -> None:
    """Print the version, or check a tag."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="TAG", help="fail unless CHANGELOG.md begins with this release")
    args = parser.parse_args()
    if args.check:
        check(args.check)
    print(version())


if __name__ == "__main__":
    main()
