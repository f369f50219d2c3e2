"""A Datumaro transform whose options are declared in a table."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from datumaro.components.dataset_base import IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.curate.options import Option, Values, read_options
from datumaro_clip.host.configured import add_configured_options

_log = logging.getLogger(__name__)


class DeclaredTransform(Transform):
    """Takes its command line, its keywords and their checks from a table of options.

    The command line refuses at once what cannot be used. Keywords are checked on first use: Datumaro drops a transform
    whose constructor fails, and would carry on without it.
    """

    #: The transform's name on the command line.
    NAME: ClassVar[str]

    @classmethod
    def options(cls) -> Sequence[Option]:
        """The table."""
        raise NotImplementedError

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Values:
        """Check what was given by keyword; raise :class:`OptionError` for what cannot be used."""
        return read_options(cls.options(), given, cls.NAME, _log.warning)

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the table's options, with a project's defaults."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        add_configured_options(parser, cls.options(), cls.NAME)
        return parser

    @classmethod
    def parse_cmdline(cls, args: Any = None) -> dict[str, Any]:
        """Read the command line; what cannot be used is refused before anything is done."""
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
        """What the options are set to; :class:`OptionError` if one cannot be used."""
        return self.read(self._given)
