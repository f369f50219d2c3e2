"""Answers come back to those who asked, in order, however far ahead requests are taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.curate.embedder import answered


def ahead(requests: Iterator[int], count: int) -> Iterator[int]:
    """Answer each request with its negative, ``count`` requests late."""
    waiting: deque[int] = deque()
    for request in requests:
        waiting.append(request)
        if len(waiting) > count:
            yield -waiting.popleft()
    yield from (-request for request in waiting)


@given(st.lists(st.none() | st.integers(1, 99)), st.integers(0, 5))
def test_each_gets_its_own_answer_in_order_and_none_without_a_request(requests: list[int | None], count: int):
    found = list(answered(enumerate(requests), lambda asked: ahead(asked, count)))
    assert found == [(n, None if request is None else -request) for n, request in enumerate(requests)]


def test_nothing_is_run_before_there_is_a_request():
    """Or a model would be loaded for items that carry their vectors."""
    started: list[str] = []

    def run(requests: Iterator[int]) -> Iterator[int]:
        started.append("now")
        return ahead(requests, 0)

    found = answered([("a", None), ("b", None), ("c", 7)], run)
    assert [next(found), next(found), started] == [("a", None), ("b", None), []]
    assert [*found, *started] == [("c", -7), "now"]
