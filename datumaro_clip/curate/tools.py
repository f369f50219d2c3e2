"""The curation tools: each an algorithm over columns, with the table of its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from datumaro_clip.curate.options import Option, Values

if TYPE_CHECKING:
    from datumaro_clip.curate.columns import Columns
    from datumaro_clip.curate.verdicts import Verdicts

#: The module of each tool, which holds it as ``TOOL``. Adding a tool means adding its module and a line here.
MODULES = {
    "clip_outliers": "datumaro_clip.curate.outliers",
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
    vectors : callable
        Says, for the values of the options, which vectors the columns must hold: ``none``, ``pictures``, or pictures
        with ``captions``, ``labels`` or ``boxes``; see :class:`~datumaro_clip.curate.columns.Columns`.
    summary : str
        What it does: a sentence, then perhaps a paragraph.
    examples : sequence of str
        Commands, or the plugin's arguments in them.
    check : callable
        Raises :class:`~datumaro_clip.errors.OptionError` for values that do not go together.
    adds_labels : bool
        Whether its verdicts may name classes that the dataset does not have.
    own_keys : callable
        Says whether items of one id and subset are told apart; where not, they are refused.
    """

    name: str
    function: Callable[[Columns, Values], Verdicts]
    options: Sequence[Option]
    summary: str
    examples: Sequence[str]
    vectors: Callable[[Values], str] = lambda values: "pictures"
    uses_model: bool = True
    check: Callable[[Values], None] = lambda values: None
    new_classes: Callable[[Values], Sequence[str]] = lambda values: ()
    takes_repeated_keys: Callable[[Values], bool] = lambda values: False

    def describe(self) -> dict[str, Any]:
        """The tool as JSON: what forms and documentation are built from."""
        options = [option.describe() for option in self.options]
        return {"name": self.name, "summary": self.summary, "examples": list(self.examples), "options": options}


def tool_named(name: str) -> Tool:
    """The tool of a name, as ``clip_align``; :class:`KeyError` where there is none."""
    found: Tool = import_module(MODULES[name]).TOOL
    return found
