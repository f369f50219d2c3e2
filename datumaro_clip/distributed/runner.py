"""One worker, which makes shards of a plan with one model and one dataset."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datumaro_clip.curate.objects import Objects, wanted_objects
from datumaro_clip.curate.run_model import RunModel
from datumaro_clip.curate.summary import EmbeddingSummary
from datumaro_clip.curate.vector_options import EmbeddingOptions
from datumaro_clip.distributed.plan import read_keys
from datumaro_clip.distributed.records import BEAT_SECONDS, DONE, PlannedWork, Record, State, worker_name
from datumaro_clip.errors import PlanError, SpaceMismatchError, with_cure
from datumaro_clip.host.items import key_of
from datumaro_clip.host.sources import open_dataset
from datumaro_clip.host.storing import embed_to_store
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.vectors import ItemKey

if TYPE_CHECKING:
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem

log = logging.getLogger(__name__)


class ShardRunner:
    """Makes shards; dataset, model and detector are opened once, when the first shard needs them.

    Parameters
    ----------
    work : PlannedWork
    local : mapping
        This machine's own choices: values of :data:`~datumaro_clip.distributed.plan.LOCAL_OPTIONS`.
    dataset : str, optional
        The dataset's place on this machine, if it is not where the plan says.
    """

    def __init__(self, work: PlannedWork, local: Mapping[str, Any], dataset: str | None = None) -> None:
        self.work = work
        self._options = EmbeddingOptions.among({**work.plan.options, **local})
        self._spec = dataset or work.plan.dataset

    def run(self, number: int) -> Record:
        """Make a shard, unless it is done.

        Returns
        -------
        Record
            That of the worker that made it.

        Raises
        ------
        PlanError
            If this machine's dataset lacks items.
        SpaceMismatchError
            If this machine's model is another one.
        DatumaroClipError, OSError
            All errors of embedding and writing; they are also in the shard's record.
        """
        if done := self.work.done(number):
            return done
        model: RunModel | None = None
        started = time.monotonic()

        def record(state: State, beat: int = 0, error: str = "") -> Record:
            summary = EmbeddingSummary() if model is None else model.summary
            return Record(
                state,
                self.work.plan.digest(number),
                worker_name(),
                summary.sources.total(),
                round(time.monotonic() - started, 3),
                beat,
                sources=dict(summary.sources),
                failures=dict(summary.failures),
                error=error,
            )

        try:
            with self._telling(number, record):
                self.work.write(number, record("running"))
                self.work.clear(number)
                model = RunModel(replace(self._options, model=self._encoder))
                items = self._items_of(number)
                with self.work.place.fill(self.work.plan.name(number), DONE) as folder:
                    self._embed(items, folder, model)
                    made = record("done")
                    (folder / DONE).write_bytes(made.to_json())
        except Exception as exc:
            if (other := self.work.done(number)) is None:
                self.work.write(number, record("failed", error=with_cure(exc)))
                raise
            log.info("shard %d: %s was quicker", number, other.worker)
            made = other
        self.work.end(number)
        return made

    def _embed(self, items: list[DatasetItem], folder: Path, model: RunModel) -> None:
        settings = self.work.plan.store
        embed_to_store(
            self._dataset,
            folder,
            settings.format,
            model.options,
            items=items,
            model=model,
            objects=self._objects,
            save_media=settings.save_media,
            dtype=settings.dtype,
        )

    def _items_of(self, number: int) -> list[DatasetItem]:
        """Return the items of a shard in the plan's order: file systems list a dataset's files in different orders."""
        content = self.work.place.read(self.work.keys_name(number))
        keys = read_keys(content or b"", self.work.plan.shards[number])
        if missing := [key for key in keys if key not in self._items]:
            raise PlanError(
                f"{self._spec} lacks {len(missing)} of the {len(keys)} items of shard {number} here, as {missing[0]}; "
                "name the dataset that the plan was made of with --dataset, or make the plan anew"
            )
        return [self._items[key] for key in keys]

    @cached_property
    def _dataset(self) -> Dataset:
        return open_dataset(self._spec)

    @cached_property
    def _items(self) -> dict[ItemKey, DatasetItem]:
        return {key_of(item): item for item in self._dataset}

    @cached_property
    def _objects(self) -> Objects | None:
        return wanted_objects(self.work.plan.options)

    @cached_property
    def _encoder(self) -> Encoder:
        options = self._options
        encoder = load_model(
            options.model,
            options.device,
            options.precision,
            local_files_only=options.local_files_only,
            self_check=options.self_check,
            streams=options.streams,
        )
        if encoder.space.fingerprint != self.work.plan.space:
            raise SpaceMismatchError(
                f"the model {options.model} is here {encoder.space}, but the plan is of {self.work.plan.space[:19]}; "
                "copy the model that the plan was made with to this machine"
            )
        return encoder

    @contextmanager
    def _telling(self, number: int, record: Callable[[State, int], Record]) -> Iterator[None]:
        """Update the record of the attempt regularly, from another thread."""
        ended = threading.Event()

        def tell() -> None:
            beat = 0
            while not ended.wait(BEAT_SECONDS):
                beat += 1
                try:
                    self.work.write(number, record("running", beat))
                except OSError as exc:
                    log.warning("shard %d: its record cannot be written: %s", number, with_cure(exc))

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
