"""Compares decisions with the defects that were planted in a drawn catalogue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datumaro_clip.curate.decisions import read_decisions


@dataclass(frozen=True)
class Judgement:
    """How well a step found the planted defects.

    Attributes
    ----------
    planted, found : int
        Planted defects, and how many of them were found.
    flagged, right : int
        Decisions against an item or a caption, and how many of them were right.
    lost, good : int
        Good items that were dropped, and all good items.
    """

    planted: int
    found: int
    flagged: int
    right: int
    lost: int
    good: int

    @property
    def recall(self) -> float:
        """Share of the planted defects that were found, in [0, 1]; 1 if none was planted."""
        return self.found / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        """Share of the decisions that were right, in [0, 1]; 1 if there was none."""
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

        A copy counts as found if it or its original was dropped, a caption's defect if anything of its item was. A
        decision against any item with a planted defect is right: a step may find the defects of another one, too.
        """
        flagged = [one for one in read_decisions(decisions).decisions if one.action != "keep"]
        wanted = [defect for defect in self.defects if defect["kind"] in kinds]
        touched = {one.key.id for one in flagged}
        defective = {name for defect in self.defects for name in _names(defect)}
        dropped = {one.key.id for one in flagged if one.action == "drop" and one.annotation is None}
        return Judgement(
            planted=len(wanted),
            found=sum(not touched.isdisjoint(_names(defect)) for defect in wanted),
            flagged=len(flagged),
            right=sum(one.key.id in defective for one in flagged),
            lost=len(dropped - defective),
            good=self.items - len({defect["id"] for defect in self.defects}),
        )


def _names(defect: dict[str, Any]) -> set[str]:
    """Return the ids by which a defect can be found: the item's, and of a copy also the original's."""
    copied = {defect["of"]} if defect["kind"].endswith("_copy") else set()
    return {defect["id"], *copied}
