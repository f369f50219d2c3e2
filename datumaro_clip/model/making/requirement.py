"""Requirements on a certificate, as a person writes them: ``mean_cosine>=0.99,overlap@10>=0.9``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from datumaro_clip.errors import OptionError
from datumaro_clip.model.making.metrics import METRICS

#: What an export has to meet where its user says nothing: one neighbour in ten may change.
DEFAULT = "mean_cosine>=0.99,overlap@10>=0.9"

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
)
_CLAUSE = re.compile(r"\s*(?P<metric>[\w@]+)\s*(?P<operator>>=|<=|>|<)\s*(?P<bound>[-+.\deE]+)\s*")


@dataclass(frozen=True)
class Clause:
    """One comparison."""

    metric: str
    operator: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.bound:g}"


@dataclass(frozen=True)
class Requirement:
    """Comparisons that must all hold."""

    clauses: tuple[Clause, ...]

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read comparisons separated by commas; raise :class:`OptionError` for what is none, or of no known metric."""
        requirement = cls(tuple(_clause(part) for part in text.split(",") if part.strip()))
        for clause in requirement.clauses:
            if clause.metric not in METRICS:
                raise OptionError(f"no metric is called {clause.metric}; there are: {', '.join(METRICS)}")
        return requirement

    def missed(self, figures: Mapping[str, float]) -> list[str]:
        """The comparisons that do not hold, each with what was found.

        Raises
        ------
        OptionError
            If a metric was not measured; lists those that were.
        """
        for clause in self.clauses:
            if clause.metric not in figures:
                raise OptionError(f"{clause.metric} was not measured; there are: {', '.join(figures)}")
        return [
            f"{clause} (is {figures[clause.metric]:.5g})"
            for clause in self.clauses
            if not _OPERATORS[clause.operator](figures[clause.metric], clause.bound)
        ]


def _clause(text: str) -> Clause:
    """One comparison."""
    match = _CLAUSE.fullmatch(text)
    try:
        if match:
            return Clause(match["metric"], match["operator"], float(match["bound"]))
    except ValueError:
        pass
    raise OptionError(f"{text.strip()!r} is no requirement; write as mean_cosine>=0.99, separated by commas")
