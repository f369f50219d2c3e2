"""What the curation transforms share: their options, when they decide, what they say and write."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from datumaro.components.dataset_base import DatasetItem, IDataset
from datumaro.components.transformer import Transform

from datumaro_clip.curate.decisions import Decision, DecisionLog, except_items, read_exceptions
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.errors import OptionError
from datumaro_clip.host.apply import DecidedItems, key_of
from datumaro_clip.host.curation.crops import embed_boxes
from datumaro_clip.host.curation.options import (
    COMMON_DEFAULTS,
    MOVE,
    add_common_options,
    make_report_directory,
    names_of,
    require_action,
)
from datumaro_clip.host.curation.pictures import thumbnails_of
from datumaro_clip.host.embedding import Embedder, ItemEmbedding
from datumaro_clip.host.options import EmbeddingOptions, add_embedding_options, require_range
from datumaro_clip.report import plan_report, write_report
from datumaro_clip.vectors import ItemKey

log = logging.getLogger(__name__)


class CurationTransform(Transform):
    """Decides about a whole dataset on first use, keeps the decisions, and passes the items on accordingly.

    A subclass declares its own options in ``add_options``, their defaults in ``DEFAULTS``, the least and greatest of
    their values in ``RANGES``, and decides in ``decide``. An option that cannot be used fails the first iteration:
    Datumaro drops a transform whose constructor fails, and would carry on without it.
    """

    NAME: ClassVar[str]
    DEFAULTS: ClassVar[dict[str, Any]] = {}
    RANGES: ClassVar[dict[str, tuple[float, float]]] = {}
    TEXTS: ClassVar[str] = "none"
    EMBEDS: ClassVar[bool] = True

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the options that this transform alone has."""

    @classmethod
    def build_cmdline_parser(cls, **kwargs: Any) -> argparse.ArgumentParser:
        """Declare the transform's options: its own, the common ones, and those of vectors."""
        parser: argparse.ArgumentParser = super().build_cmdline_parser(**kwargs)
        cls.add_options(parser)
        add_common_options(parser)
        if cls.EMBEDS:
            add_embedding_options(parser, overwrite=True)
            parser.set_defaults(texts=cls.TEXTS)
        return parser

    def __init__(self, extractor: IDataset, **options: Any) -> None:
        super().__init__(extractor)
        self._given = options
        self._log: DecisionLog | None = None
        self._kept: int | None = None
        self._model: RunModel | None = None
        self._failed: dict[ItemKey, str] = {}
        self.space: str | None = None

    @property
    def decisions(self) -> DecisionLog:
        """What was decided; deciding takes place on first use."""
        if self._log is None:
            self._log = self._decide()
        return self._log

    def __iter__(self) -> Iterator[DatasetItem]:
        count = 0
        for item in DecidedItems(self.decisions, self.categories()).apply(self._extractor):
            count += 1
            yield item
        self._kept = count

    def __len__(self) -> int:
        if self._kept is None:
            self._kept = sum(1 for _ in self)
        return self._kept

    def subsets(self) -> Any:
        """Subsets by name, those that items move to included."""
        moved = {decision.subset for decision in self.decisions.decisions if decision.subset}
        self._subsets = sorted({*self._extractor.subsets(), *moved})
        return super().subsets()

    def decide(self, items: list[DatasetItem]) -> tuple[list[Decision], list[str]]:
        """Decide about the items of the chosen subsets; ``drop`` stands for whatever ``--action`` says.

        Returns
        -------
        decisions : list of Decision
        notes : list of str
            Findings that no single item carries.
        """
        raise NotImplementedError

    def embedded(self, items: Iterable[DatasetItem], *, texts: str | None = None) -> list[ItemEmbedding]:
        """The items that remain after ``--on-error``, with their vectors and those of their texts."""
        options = self.embedding_options if texts is None else replace(self.embedding_options, texts=texts)
        if options.on_error == "skip":
            options = replace(options, on_error="keep")  # the embedder would pass over in silence what failed
        found = list(Embedder(options, self.categories(), self.model).run(items))
        return self._in_space(self._without_failed(found))

    @property
    def model(self) -> RunModel:
        """The model of this run: whatever is asked of it, it is found once."""
        if self._model is None:
            self._model = RunModel(self.embedding_options)
        return self._model

    def boxes_embedded(self, items: list[DatasetItem]) -> list[ItemEmbedding]:
        """One entry a labelled box; see :func:`embed_boxes`."""
        return self._in_space(self._without_failed(embed_boxes(items, self.model, self.categories())))

    def _without_failed(self, found: list[ItemEmbedding]) -> list[ItemEmbedding]:
        """With ``--on-error skip``, remember the items of which nothing could be embedded, and leave them out."""
        if self.embedding_options.on_error != "skip":
            return found
        able = {key_of(each.item) for each in found if each.error is None}
        failed = {key_of(each.item): each.error.reason for each in found if each.error is not None}
        self._failed = {key: reason for key, reason in failed.items() if key not in able}
        return [each for each in found if key_of(each.item) not in self._failed]

    def _in_space(self, found: list[ItemEmbedding]) -> list[ItemEmbedding]:
        spaces = [each.embedding.space for each in found if each.embedding is not None]
        self.space = spaces[0] if spaces else self.space
        return found

    def _decide(self) -> DecisionLog:
        self._read_options()
        decisions, notes = self.decide(self._items())
        self._model = None  # nothing is computed any more: its memory is free
        settled = self._settled(decisions)
        made = DecisionLog(self.NAME, self._told_options(), self.space, tuple(settled), tuple(notes))
        log_summary(made)
        if self.options["report"]:
            self._write_report(Path(self.options["report"]), made)
        return made

    def _read_options(self) -> None:
        given = dict(self._given)
        if "except" in given:
            given["except_file"] = given.pop("except")
        self.embedding_options = EmbeddingOptions.take_from({"texts": self.TEXTS} | given if self.EMBEDS else {})
        own = {name: value for name, value in given.items() if name not in asdict(self.embedding_options)}
        unknown = sorted(set(own) - {*self.DEFAULTS, *COMMON_DEFAULTS})
        if unknown:
            raise OptionError(f"{self.NAME} has no option {', '.join(unknown)}")
        defaults = {**COMMON_DEFAULTS, **self.DEFAULTS}
        self.options: dict[str, Any] = {**defaults, **{name: _alike(own[name], defaults[name]) for name in own}}
        self._subset_names = names_of(self.options["subset"])
        self._protected = names_of(self.options["protect"])
        self._require_subsets()
        require_action(self.options["action"])
        for name, bounds in self.RANGES.items():
            require_range(name, self.options[name], *bounds)
        self._excepted = read_exceptions(self.options["except_file"]) if self.options["except_file"] else frozenset()
        if self.options["report"]:
            make_report_directory(Path(self.options["report"]))

    def _require_subsets(self) -> None:
        present = set(self._extractor.subsets())
        if unknown := sorted((self._subset_names | self._protected) - present):
            names = ", ".join(sorted(present))
            raise OptionError(f"the dataset has no subset {', '.join(unknown)}; it has {names}")

    def _chosen(self, item: DatasetItem) -> bool:
        return not self._subset_names or item.subset in self._subset_names

    def _items(self) -> list[DatasetItem]:
        """The items of the chosen subsets, each with a key of its own."""
        items = [item for item in self._extractor if self._chosen(item)]
        if not self.tells_repeated_ids_apart():
            _require_own_keys(items)
        return items

    def tells_repeated_ids_apart(self) -> bool:
        """Whether items of one id and subset get decisions of their own."""
        return False

    def _settled(self, decisions: list[Decision]) -> list[Decision]:
        """What the common options make of decisions, then those about items that ``--on-error skip`` drops."""
        judged = [decision for decision in decisions if decision.key not in self._failed]
        failed = [Decision(key, "drop", f"failed_{reason}") for key, reason in self._failed.items()]
        return [*map(self._acted, self._spared(judged)), *self._spared(failed)]

    def _spared(self, decisions: list[Decision]) -> list[Decision]:
        return except_items([self._shielded(decision) for decision in decisions], self._excepted)

    def _shielded(self, decision: Decision) -> Decision:
        if decision.action == "drop" and decision.key.subset in self._protected:
            return replace(decision, action="keep", reason=f"protected_{decision.reason}")
        return decision

    def _acted(self, decision: Decision) -> Decision:
        """What ``--action`` makes of a decision to drop an item or an annotation."""
        action = self.options["action"]
        if decision.action != "drop" or action == "drop":
            return decision
        marks = {**_marks(decision), **decision.attributes}
        if action.startswith(MOVE) and decision.annotation is None:
            return replace(decision, action="move", subset=action[len(MOVE) :], attributes=marks)
        return replace(decision, action="mark", attributes=marks)

    def _told_options(self) -> dict[str, Any]:
        """The options that decided, as JSON values."""
        said = {**self.options, **(asdict(self.embedding_options) if self.EMBEDS else {})}
        for name in ("report", "except_file", "cache", "batch_size", "streams", "threads"):
            said.pop(name, None)
        return {name: list(value) if isinstance(value, tuple | set) else value for name, value in said.items()}

    def _write_report(self, directory: Path, made: DecisionLog) -> None:
        plan = plan_report(made)
        write_report(directory, plan, thumbnails_of(self._extractor, plan.keys()))
        log.info("Report: %s", directory / "report.html")


def log_summary(made: DecisionLog) -> None:
    """One line with the counts of what was decided, then the notes."""
    about_items = {decision.key for decision in made.decisions}
    counts = ", ".join(f"{name} {count}" for name, count in sorted(made.counts().items())) or "nothing to decide"
    log.info("%s: %d items; %s", made.transform, len(about_items), counts)
    for note in made.notes:
        log.info("%s: %s", made.transform, note)


def keys_of(items: Iterable[DatasetItem]) -> list[ItemKey]:
    """The keys of items, in order."""
    return [key_of(item) for item in items]


def _alike(value: Any, default: Any) -> Any:
    """An option's value; a single name, where several may be given, is a tuple of one."""
    return (value,) if isinstance(default, tuple) and isinstance(value, str) else value


def _require_own_keys(items: list[DatasetItem]) -> None:
    """Refuse items that would share a decision, which is about an id and a subset."""
    key, count = next(iter(Counter(keys_of(items)).most_common(1)), (None, 0))
    if count > 1:
        raise OptionError(
            f"{count} items are called {key}, and an item's id and subset must be its own: rename the others, or "
            "let clip_clean drop them first, as repeated_id"
        )


def _marks(decision: Decision) -> dict[str, Any]:
    """A decision as attributes of its item, for ``mark`` and ``subset:NAME``."""
    marks: dict[str, Any] = {"clip_reason": decision.reason}
    if decision.score is not None:
        marks["clip_score"] = round(decision.score, 6)
    if decision.group is not None:
        marks["clip_group"] = decision.group
    if decision.representative is not None:
        marks["clip_representative"] = str(decision.representative)
    return marks
