"""The mapping file, in which a person accepts synonymous labels and renames attributes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from datumaro_clip.errors import OptionError, with_cure
from datumaro_clip.system.files import write_text

FORMAT, VERSION = "datumaro-clip mapping", 1
SAME, PARENT = "same", "parent"
TYPES = {"text": str, "int": int, "float": float, "bool": bool}


@dataclass(frozen=True)
class AttributeRule:
    """The new name of an attribute, and the type of its values: one of ``TYPES``, or None to keep them."""

    name: str
    target: str
    type: str | None = None


@dataclass(frozen=True)
class NameMapping:
    """The accepted entries of a mapping file.

    Attributes
    ----------
    renames : mapping
        From a label to its new name, which is not renamed itself.
    parents : mapping
        From a label to its parent, of which it is a kind.
    attributes : tuple of AttributeRule
    path, sha256 : str
        The file, and the digest of its bytes.
    """

    renames: Mapping[str, str] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    attributes: tuple[AttributeRule, ...] = ()
    path: str = ""
    sha256: str = ""

    def record(self) -> dict[str, str]:
        """Return what a dataset records of a mapping that was applied to it."""
        return {"mapping": Path(self.path).name, "sha256": self.sha256}

    @property
    def named(self) -> list[str]:
        """All labels that the mapping has an entry for."""
        return list(dict.fromkeys([*self.renames, *self.parents]))


def read_mapping(path: str | Path) -> NameMapping:
    """Read a mapping; of the labels only those with ``accept: yes``.

    Raises
    ------
    OptionError
        If it cannot be read, is no mapping, or contradicts itself.
    """
    try:
        data = Path(path).read_bytes()
        content = yaml.safe_load(data)
    except OSError as exc:
        raise OptionError(f"--mapping {with_cure(exc)}") from exc
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
        raise OptionError(f"--mapping {path} is no YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise OptionError(f"--mapping {path} is no mapping; 'datum-clip labels propose' writes one")
    if content.get("version") != VERSION:
        raise OptionError(f"--mapping {path} has version {content.get('version')}; upgrade datumaro-clip")
    accepted: dict[str, dict[str, str]] = {SAME: {}, PARENT: {}}
    for number, entry in enumerate(_entries(content, "labels", path), start=1):
        name, target = (_text(entry, key, f"{path}, label {number}") for key in ("from", "to"))
        relation = entry.get("relation", SAME)
        if relation not in accepted:
            raise OptionError(f"{path}, label {number}: relation must be same or parent, got {relation!r}")
        if not isinstance(entry.get("accept", False), bool):
            raise OptionError(f"{path}, label {number}: accept must be yes or no, got {entry['accept']!r}")
        if entry.get("accept") and accepted[relation].setdefault(name, target) != target:
            raise OptionError(f"{path}: {name!r} cannot be both {accepted[relation][name]!r} and {target!r}")
    rules = []
    for number, entry in enumerate(_entries(content, "attributes", path), start=1):
        name, kind = _text(entry, "from", f"{path}, attribute {number}"), entry.get("type")
        if kind is not None and kind not in TYPES:
            raise OptionError(f"{path}: type must be one of {', '.join(TYPES)}, got {kind!r}")
        rules.append(AttributeRule(name, str(entry.get("to", name)), kind))
    renames = {name: _end(name, accepted[SAME], path) for name in accepted[SAME]}
    return NameMapping(renames, accepted[PARENT], tuple(rules), str(path), hashlib.sha256(data).hexdigest())


def _entries(content: Mapping[str, Any], section: str, path: str | Path) -> list[dict[str, Any]]:
    entries = content.get(section) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise OptionError(f"{path}: {section} must be a list of entries with from and to")
    return entries


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise OptionError(f"{where}: {key} must be a name, got {value!r}; put it in quotation marks")
    return value


def _end(name: str, renames: Mapping[str, str], path: str | Path) -> str:
    """Follow a chain of renames to its end."""
    seen = [name]
    while (target := renames.get(seen[-1])) is not None:
        if target in seen:
            raise OptionError(f"{path}: {' -> '.join([*seen, target])} goes round in a circle; accept one way only")
        seen.append(target)
    return seen[-1]


def write_mapping(path: Path, labels: Sequence[Mapping[str, Any]], comment: str) -> None:
    """Write proposals for a person to accept, each with ``from``, ``to``, ``relation`` and ``evidence``."""
    entries = [{**entry, "accept": False} for entry in labels]
    data = {"format": FORMAT, "version": VERSION, "labels": entries, "attributes": []}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120).replace("accept: false", "accept: no")
    write_text(path, "".join(f"# {line}\n" for line in comment.splitlines()) + text)
