"""The curation tools: each an algorithm over columns, with the table of its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from datumaro_clip.options import Option, Values

if TYPE_CHECKING:
    from datumaro_clip.curate.columns import Columns, Verdicts
    from datumaro_clip.curate.item import Item

#: The module of each tool, which defines ``TOOL``. A new tool needs a module and a line here.
MODULES = {
    "clip_align": "datumaro_clip.curate.align",
    "clip_classify": "datumaro_clip.curate.classify",
    "clip_clean": "datumaro_clip.curate.clean",
    "clip_dedup": "datumaro_clip.curate.dedup",
    "clip_outliers": "datumaro_clip.curate.outliers",
    "clip_sample": "datumaro_clip.curate.sample",
    "clip_search": "datumaro_clip.curate.search",
}


@dataclass(frozen=True)
class Tool:
    """A curation tool.

    Attributes
    ----------
    name : str
        Its name in Datumaro and in logs.
    function : callable
        Takes the columns of a dataset and the values of the options, returns verdicts. ``drop`` stands for the action
        that ``--action`` names.
    options : sequence of Option
        Its own options.
    summary : str
        A sentence about it, then perhaps a paragraph.
    examples : sequence of str
        Examples of its arguments.
    vectors : callable
        Returns, for the values of the options, the vectors that the columns must hold: ``wanted`` of
        :func:`~datumaro_clip.curate.embedder.embed_columns`.
    uses_model : bool
        Whether it may need a model, and so has the options of one.
    check : callable
        Raises :class:`~datumaro_clip.errors.OptionError` for values that contradict one another.
    check_items : callable
        The same for values that contradict the items or the names of the classes; called before a picture is read.
    new_classes : callable
        Returns classes that the verdicts may name and the dataset may lack.
    takes_repeated_keys : callable
        Returns whether several items of one id and subset are allowed.
    takes_objects : bool
        Whether it can work on the objects in pictures instead of on pictures (``--objects``).
    selects : bool
        Whether it chooses what to keep, rather than what to drop.
    nothing : str
        The sentence of a report where it found nothing.
    """

    name: str
    function: Callable[[Columns, Values], Verdicts]
    options: Sequence[Option]
    summary: str
    examples: Sequence[str]
    vectors: Callable[[Values], str] = lambda values: "pictures"
    uses_model: bool = True
    check: Callable[[Values], None] = lambda values: None
    check_items: Callable[[Values, Sequence[Item], Sequence[str]], None] = lambda values, items, classes: None
    new_classes: Callable[[Values], Sequence[str]] = lambda values: ()
    takes_repeated_keys: Callable[[Values], bool] = lambda values: False
    takes_objects: bool = False
    selects: bool = False
    nothing: str = "nothing was found"

    def describe(self) -> dict[str, Any]:
        """Describe the tool as JSON, for forms and documentation."""
        options = [option.describe() for option in self.options]
        return {"name": self.name, "summary": self.summary, "examples": list(self.examples), "options": options}


def tool_named(name: str) -> Tool:
    """Return the tool of a name, as ``clip_align``; raise :class:`KeyError` where there is none."""
    found: Tool = import_module(MODULES[name]).TOOL
    return found
