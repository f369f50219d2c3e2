"""Threads of our own: BLAS has one thread while they multiply, and then what it had."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from threadpoolctl import threadpool_info

from datumaro_clip.similarity import threads as module
from datumaro_clip.similarity.threads import in_threads


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_processors", lambda: 2)


def test_results_come_in_the_order_of_their_tasks() -> None:
    assert in_threads(lambda number: number * 2, range(20)) == list(range(0, 40, 2))


def test_tasks_are_done_side_by_side() -> None:
    """Each waits for the other: one after the other, they would wait in vain."""
    both = threading.Barrier(2, timeout=30)
    assert sorted(in_threads(lambda task: both.wait(), range(2))) == [0, 1]


@pytest.mark.parametrize("tasks", [0, 1, 2, 5])
def test_blas_has_one_thread_however_many_tasks_there_are(tasks: int) -> None:
    """A single one too: two processes that search at once would else wait for one another's threads."""
    before = blas_threads()
    assert in_threads(lambda task: blas_threads(), range(tasks)) == [{1}] * tasks
    assert blas_threads() == before


def test_a_blas_that_another_module_brings_has_one_thread_too() -> None:
    """SciPy has a BLAS of its own: loaded after the first product, its threads would wait busily, unrestrained."""
    code = """
from threadpoolctl import threadpool_info
from datumaro_clip.similarity import threads
threads.available_processors = lambda: 2
blas = lambda: [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
[before] = threads.in_threads(lambda task: blas(), [0])
import scipy.optimize
[after] = threads.in_threads(lambda task: blas(), [0])
print(len(after) > len(before), {*before, *after})
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "True {1}\n"


def test_the_last_to_leave_gives_blas_its_threads_back() -> None:
    """Whoever is still multiplying keeps one thread when another has ended."""
    first_in, second_done = threading.Event(), threading.Event()
    seen: list[set[int]] = []

    def first(task: int) -> None:
        first_in.set()
        second_done.wait(30)
        seen.append(blas_threads())

    before = blas_threads()
    other = threading.Thread(target=lambda: in_threads(first, range(1)))
    other.start()
    first_in.wait(30)
    in_threads(lambda task: task, range(1))
    second_done.set()
    other.join()
    assert (seen, blas_threads()) == ([{1}], before)


def test_products_that_overlap_leave_blas_as_it_was() -> None:
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first(task: int) -> set[int]:
        first_in.set()
        second_in.wait(30)
        return blas_threads()

    def second(task: int) -> None:
        second_in.set()
        first_out.wait(30)

    before = blas_threads()
    later = threading.Thread(target=lambda: (first_in.wait(30), in_threads(second, range(2))))
    later.start()
    assert in_threads(first, range(2)) == [{1}] * 2
    first_out.set()
    later.join()
    assert blas_threads() == before
