"""The curation tools: each an algorithm over columns, with the table of its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from datumaro_clip.curate.options import Option, Values

if TYPE_CHECKING:
    from datumaro_clip.curate.columns import Columns, Verdicts
    from datumaro_clip.curate.item import Item

#: The module of each tool, which holds it as ``TOOL``. Adding a tool means adding its module and a line here.
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
        As Datumaro and the log know it.
    function : callable
        Takes the columns of a dataset and the values of the options, returns verdicts. ``drop`` stands for whatever
        ``--action`` says.
    options : sequence of Option
        What it alone has.
    summary : str
        What it does: a sentence, then perhaps a paragraph.
    examples : sequence of str
        Arguments that show what it can do.
    vectors : callable
        Says, for the values of the options, which vectors the columns must hold, in the words of
        :func:`~datumaro_clip.curate.embedder.embed_columns`.
    uses_model : bool
        Whether it ever needs a model, and so the options of one.
    check : callable
        Raises :class:`~datumaro_clip.errors.OptionError` for values that do not go together.
    check_items : callable
        The same for values that do not go with the items and the names of the classes; called before a picture is
        read.
    new_classes : callable
        The classes that the verdicts may name and the dataset may not have.
    takes_repeated_keys : callable
        Whether items of one id and subset are told apart; where not, they are refused.
    takes_objects : bool
        Whether it can work on the objects in pictures instead of on pictures (``--objects``).
    selects : bool
        Whether it chooses what to keep, rather than what to drop.
    nothing : str
        What a report says where it found nothing.
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
        """The tool as JSON: what forms and documentation are built from."""
        options = [option.describe() for option in self.options]
        return {"name": self.name, "summary": self.summary, "examples": list(self.examples), "options": options}


def tool_named(name: str) -> Tool:
    """The tool of a name, as ``clip_align``; :class:`KeyError` where there is none."""
    found: Tool = import_module(MODULES[name]).TOOL
    return found
