"""Datumaro transforms whose options are declared in a table, and the one of all curation tools."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.curate.decisions import DecisionLog
from datumaro_clip.curate.run import options_of, read_values
from datumaro_clip.curate.tools import MODULES, Tool, tool_named
from datumaro_clip.functions.curation import decide_and_report
from datumaro_clip.host.apply import DecidedItems
from datumaro_clip.host.configured import add_configured_options
from datumaro_clip.host.items import label_names, neutral, with_labels
from datumaro_clip.host.specs import class_name
from datumaro_clip.options import Option, Values, read_options

_log = logging.getLogger(__name__)


class DeclaredTransform(Transform):
    """A transform whose command line, keywords and their checks come from a table of options.

    Wrong values on the command line are refused at once. Keywords are checked on first use: Datumaro drops a transform
    whose constructor fails, and would carry on without it.
    """

    #: The transform's name on the command line.
    NAME: ClassVar[str]

    @classmethod
    def options(cls) -> Sequence[Option]:
        """Return the table."""
        raise NotImplementedError

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Values:
        """Check what was given by keyword; raise :class:`OptionError` for a value that cannot be used."""
        return read_options(cls.options(), given, cls.NAME, _log.warning)

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the table's options, with a project's defaults."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        add_configured_options(parser, cls.options(), cls.NAME)
        return parser

    @classmethod
    def parse_cmdline(cls, args: Any = None) -> dict[str, Any]:
        """Read the command line; values that cannot be used are refused before anything is done."""
        given: dict[str, Any] = super().parse_cmdline(args)
        cls.read(given)
        return given

    def __init__(self, extractor: IDataset, **options: Any) -> None:
        super().__init__(extractor)
        self._given = options
        # Without this, list() asks for the length first, and that goes through all items.
        self._length = None if options.get("on_error") == "skip" else "parent"

    @cached_property
    def values(self) -> Values:
        """The values of the options; :class:`OptionError` if one cannot be used."""
        return self.read(self._given)


class CurationTransform(DeclaredTransform):
    """Lets a tool decide about a whole dataset on first use, and passes the items on as decided.

    Each tool has a subclass, which :func:`transform_of` makes. The source is read once.
    """

    TOOL: ClassVar[Tool]

    @classmethod
    def options(cls) -> Sequence[Option]:
        """Return the tool's own options, the common ones, and those of vectors."""
        return options_of(cls.TOOL)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Values:
        """Check what was given by keyword, as the tool does."""
        return read_values(cls.TOOL, given)

    def __init__(self, extractor: IDataset, **options: Any) -> None:
        super().__init__(extractor, **options)
        self._kept: int | None = None

    @cached_property
    def decisions(self) -> DecisionLog:
        """The decisions; they are made, and the report is written, on first use."""
        values, classes = self.values, label_names(self._extractor.categories())
        items = [neutral(item, classes) for item in self._items]
        return decide_and_report(self.TOOL, values, items, classes)

    @cached_property
    def _items(self) -> list[DatasetItem]:
        """The source's items, read once: in a second pass they could differ, and cost as much again."""
        # list() of the source itself would ask for the length first, which may take a pass of its own.
        return list(iter(self._extractor))

    def categories(self) -> Any:
        """Return the dataset's categories, with the classes that the tool adds."""
        return with_labels(self._extractor.categories(), self.TOOL.new_classes(self.values))

    def __iter__(self) -> Iterator[DatasetItem]:
        count = 0
        for item in DecidedItems(self.decisions, self.categories()).apply(self._items):
            count += 1
            yield item
        self._kept = count

    def __len__(self) -> int:
        if self._kept is None:
            self._kept = sum(1 for _ in self)
        return self._kept

    def subsets(self) -> Any:
        """Return subsets by name, including those that items move to."""
        moved = {decision.subset for decision in self.decisions.decisions if decision.subset}
        self._subsets = sorted({*(str(item.subset) for item in self._items), *moved})
        return super().subsets()


def transform_of(name: str) -> type[CurationTransform]:
    """Make the transform of a tool, as ``ClipAlign`` of ``clip_align``."""
    tool = tool_named(name)
    examples = "|n\n".join(
        f"|s|sdatum transform -t {name} -o OUT path/to/coco:coco -- {each}" for each in tool.examples
    )
    told = tool.summary.replace("\n\n", "|n\n|n\n") + f"|n\n|n\nExamples:|n\n{examples}"
    return type(class_name(name), (CurationTransform,), {"NAME": name, "TOOL": tool, "__doc__": told})


def __getattr__(name: str) -> type[CurationTransform]:
    """Make ``ClipAlign`` and the like when they are asked for."""
    found = next((tool for tool in MODULES if class_name(tool) == name), None)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = transform_of(found)
    return made
