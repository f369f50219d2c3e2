"""Compares decisions with what is known of a drawn catalogue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datumaro_clip.curate.decisions import Decision, read_decisions

Flag = tuple[str, int | None]


@dataclass(frozen=True)
class Judgement:
    """How a step did.

    Attributes
    ----------
    planted, found, flagged, right : int
        Defects that were planted, those of them that were found, decisions against an item or a caption, and those of
        them that were right.
    lost : int
        Good items that were dropped.
    good : int
        Good items that there are.
    """

    planted: int
    found: int
    flagged: int
    right: int
    lost: int
    good: int

    @property
    def recall(self) -> float:
        """Share of the planted defects that was found, in [0, 1]; 1 where none was planted."""
        return self.found / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        """Share of the decisions that was right, in [0, 1]; 1 where there was none."""
        return self.right / self.flagged if self.flagged else 1.0

    def __str__(self) -> str:
        return (
            f"  => {self.found} of {self.planted} planted defects found (recall {self.recall:.2f}), "
            f"{self.right} of {self.flagged} decisions right (precision {self.precision:.2f}), "
            f"{self.lost} of {self.good} good items lost"
        )


@dataclass(frozen=True)
class PlantedDefects:
    """The contents of a catalogue's ``truth.json``."""

    items: int
    defects: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, catalogue: Path) -> PlantedDefects:
        """Read it from a catalogue's directory."""
        document = json.loads((catalogue / "truth.json").read_text(encoding="utf-8"))
        return cls(document["items"], tuple(document["defects"]))

    def judge(self, decisions: Path, kinds: tuple[str, ...]) -> Judgement:
        """Compare a step's decisions with the planted defects of some kinds.

        A copy counts as found when it or its original was dropped; a caption's defect, when something of its item was.
        A decision against any item with a planted defect is right: a step may find what another was meant to.
        """
        flagged = [one for one in read_decisions(decisions).decisions if one.action != "keep"]
        wanted = [defect for defect in self.defects if defect["kind"] in kinds]
        touched = {one.key.id for one in flagged}
        defective = {name for defect in self.defects for name in _names(defect)}
        lost = {one.key.id for one in flagged if _drops_item(one)} - defective
        return Judgement(
            planted=len(wanted),
            found=sum(not touched.isdisjoint(_names(defect)) for defect in wanted),
            flagged=len(flagged),
            right=sum(one.key.id in defective for one in flagged),
            lost=len(lost),
            good=self.items - len({defect["id"] for defect in self.defects}),
        )


def _names(defect: dict[str, Any]) -> set[str]:
    """The items by which a defect can be found: itself, and for a copy its original."""
    copied = {defect["of"]} if defect["kind"].endswith("_copy") else set()
    return {defect["id"], *copied}


def _drops_item(decision: Decision) -> bool:
    return decision.action == "drop" and decision.annotation is None
