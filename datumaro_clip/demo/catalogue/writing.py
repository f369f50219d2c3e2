"""Writing a catalogue: pictures, COCO annotations, and the truth about what was planted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from datumaro_clip.demo.catalogue.coco import captions_document, instances_document
from datumaro_clip.demo.catalogue.plan import SUBSETS, Entry, plan_catalogue
from datumaro_clip.demo.catalogue.rendering import Rendered, render
from datumaro_clip.demo.catalogue.truth import truth_document
from datumaro_clip.errors import OptionError
from datumaro_clip.system.files import atomic_directory


def write_catalogue(
    directory: str | os.PathLike[str],
    *,
    items: int = 2000,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Draw a product catalogue with planted defects as a COCO dataset.

    Parameters
    ----------
    directory
        Where to; must be empty or not be there yet. It gets ``images/<subset>/``, ``annotations/`` and
        ``truth.json`` (see docs/catalogue.md), and appears whole or not at all.
    items
        Number of items, copies and defects included; at least 40.
    seed
        The same seed and number of items give the same bytes.
    progress
        Called with the number of items drawn so far, after each.

    Raises
    ------
    OptionError
        If there are too few items, or the directory holds something.
    """
    root = Path(directory)
    entries = plan_catalogue(items, seed)
    if root.exists() and any(root.iterdir()):
        raise OptionError(f"{root} is not empty: name a new directory, so that nothing in it is lost")
    with atomic_directory(root) as whole:
        rendered = _draw_all(whole, entries, progress or (lambda done: None))
        for subset in SUBSETS:
            chosen = [(entry, drawn) for entry, drawn in zip(entries, rendered, strict=True) if entry.subset == subset]
            _write_json(whole / "annotations" / f"instances_{subset}.json", instances_document(chosen))
            _write_json(whole / "annotations" / f"captions_{subset}.json", captions_document(chosen))
        _write_json(whole / "truth.json", truth_document(entries, seed))


def _draw_all(root: Path, entries: list[Entry], progress: Callable[[int], object]) -> list[Rendered]:
    """Draw every entry into its file; what comes back holds no bytes any more."""
    for subset in SUBSETS:
        (root / "images" / subset).mkdir(parents=True, exist_ok=True)
    rendered = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for drawn in pool.map(lambda entry: _draw_file(root, entry), entries):
            rendered.append(drawn)
            progress(len(rendered))
    return rendered


def _draw_file(root: Path, entry: Entry) -> Rendered:
    """Draw one entry into its file, if it shall have one."""
    drawn = render(entry)
    if drawn.content is not None:
        (root / "images" / entry.subset / entry.file_name).write_bytes(drawn.content)
    return drawn._replace(content=None)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    """Write ``document`` whole, one line for each entry of a list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
