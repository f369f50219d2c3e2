"""Tables of a million rows, and shards of a hundred thousand members: processor time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figures import Figure, at_most, cpu_seconds
from benchmarks.resident import seconds_and_megabytes

ROWS, MEMBERS = 1_000_000, 100_000
# Processor seconds that indexing a shard may take.
_INDEX_SECONDS = 5.0


def run(work: Path) -> Iterator[Figure]:
    """Reading a table as records and as items, indexing shards, importing them."""
    from datumaro.components.dataset import StreamDataset

    from datumaro_clip.tables.dataset import ShardDataset, TableDataset
    from datumaro_clip.tables.shards import ShardTable

    table, shard = _table(work / "rows.csv"), _shard(work / "shard.tar")
    for rows in (ROWS // 10, ROWS):
        path = work / f"{rows}.csv"
        with table.open("rb") as source, path.open("wb") as file:
            file.writelines(line for line, _ in zip(source, range(rows + 1), strict=False))
        taken, memory = _measured(lambda path=path: _count(TableDataset(path)))  # type: ignore[misc]
        yield Figure("tables", f"{rows:,} rows to records, twice read", taken, "CPU s")
        yield Figure("tables", f"{rows:,} rows: memory added", memory, "MB")
    stream = StreamDataset.import_from(str(table), "clip_table")
    taken, memory = _measured(lambda: _count(stream))
    yield Figure("tables", f"{ROWS:,} rows to items, as a stream", taken, "CPU s")
    yield Figure("tables", f"{ROWS:,} rows to items: memory added", memory, "MB")
    indexed = cpu_seconds(lambda: ShardTable(shard, work))
    yield at_most("tables", f"{MEMBERS:,} members of a tar indexed", indexed, _INDEX_SECONDS, "CPU s")
    taken = cpu_seconds(lambda: _count(ShardDataset(shard)))
    yield Figure("tables", f"{MEMBERS:,} members: index, survey and records", taken, "CPU s")


def _measured(work: Callable[[], object]) -> tuple[float, float]:
    """Return the processor seconds of some work, and the MB of memory that it adds."""
    taken: list[float] = []
    _, memory = seconds_and_megabytes(lambda: taken.append(cpu_seconds(work)))
    return taken[0], memory


def _count(items: object) -> int:
    return sum(1 for _ in items)  # type: ignore[attr-defined]


def _table(path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("product_id,title,category,price,image\n")
        for n in range(ROWS):
            file.write(
                f'{n:08d},"A hat of size {n % 97}, in blue",kind {n % 20},{n % 1000}.50,images/{n // 1000}/{n}.jpg\n'
            )
    return path


def _shard(path: Path) -> Path:
    import io
    import tarfile

    with tarfile.open(path, "w") as tar:
        for n in range(MEMBERS // 4):
            for field, size in (("jpg", 2000), ("txt", 40), ("json", 2), ("cls", 1)):
                info = tarfile.TarInfo(f"{n:09d}.{field}")
                info.size = size
                data = {"json": b"{}", "cls": b"7"}.get(field, b"x" * size)
                tar.addfile(info, io.BytesIO(data))
    return path
