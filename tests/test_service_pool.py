"""Requests of one moment are worked on together, and a full queue refuses at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from datumaro_clip.service.embedding import TextCache, normalised
from datumaro_clip.service.pool import Batcher, Pool
from datumaro_clip.service.problems import RequestError


def run(test: Callable[[Pool], Awaitable[Any]], threads: int = 2, waiting: int = 100) -> Any:
    """Run a coroutine with a pool."""
    pool = Pool(threads, waiting)
    try:
        return asyncio.run(test(pool))  # type: ignore[arg-type]
    finally:
        pool.close()


def test_requests_that_wait_for_a_batch_are_the_next_batch():
    batches: list[list[int]] = []
    release = threading.Event()

    def work(requests: list[int]) -> list[int]:
        batches.append(requests)
        assert release.wait(10)
        return [-request for request in requests]

    async def test(pool: Pool) -> list[int]:
        batcher = Batcher(work, pool, most=3, capacity=10)
        first = asyncio.ensure_future(batcher(0))
        while not batches:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(batcher(n)) for n in range(1, 6)]
        await asyncio.sleep(0)
        release.set()
        return list(await asyncio.gather(first, *others))

    assert run(test) == [0, -1, -2, -3, -4, -5]
    assert batches == [[0], [1, 2, 3], [4, 5]]


def test_requests_of_one_moment_are_one_batch():
    batches: list[list[int]] = []

    async def test(pool: Pool) -> list[int]:
        batcher: Batcher[int, int] = Batcher(lambda b: batches.append(b) or b, pool, most=8, capacity=10)
        return list(await asyncio.gather(*map(batcher, range(5))))

    assert run(test) == [0, 1, 2, 3, 4]
    assert batches == [[0, 1, 2, 3, 4]]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back():
    release = threading.Event()

    async def test(pool: Pool) -> None:
        batcher: Batcher[int, int] = Batcher(lambda b: release.wait(10) and b, pool, most=1, capacity=2)
        waiting = [asyncio.ensure_future(batcher(n)) for n in range(2)]
        await asyncio.sleep(0)
        waiting.append(asyncio.ensure_future(batcher(2)))
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as refused:
            await batcher(3)
        assert (refused.value.status, refused.value.retry_after) == (503, 1)
        release.set()
        assert await asyncio.gather(*waiting) == [0, 1, 2]

    run(test)


def test_one_bad_request_does_not_take_the_others_with_it():
    async def test(pool: Pool) -> list[Any]:
        batcher: Batcher[int, int] = Batcher(
            lambda b: [ValueError(str(n)) if n == 1 else n for n in b], pool, most=8, capacity=10
        )
        return list(await asyncio.gather(*map(batcher, range(3)), return_exceptions=True))

    zero, one, two = run(test)
    assert (zero, str(one), two) == (0, "1", 2)


def test_a_batch_that_fails_is_the_answer_of_each_and_the_next_one_runs():
    def work(requests: list[int]) -> list[int]:
        if requests == [1]:
            raise OSError("full")
        return requests

    async def test(pool: Pool) -> Any:
        batcher = Batcher(work, pool, most=1, capacity=10)
        return await asyncio.gather(*map(batcher, range(3)), return_exceptions=True)

    zero, one, two = run(test)
    assert (zero, str(one), two) == (0, "full", 2)


def test_nobody_works_for_who_has_gone_away():
    seen: list[int] = []

    async def test(pool: Pool) -> None:
        batcher: Batcher[int, int] = Batcher(lambda b: seen.extend(b) or b, pool, most=8, capacity=10)
        gone, stays = asyncio.ensure_future(batcher(1)), asyncio.ensure_future(batcher(2))
        asyncio.get_running_loop().call_soon(gone.cancel)
        assert await stays == 2

    run(test)
    assert seen == [2]


def test_the_pool_counts_a_call_until_its_thread_has_ended():
    release = threading.Event()

    async def test(pool: Pool) -> None:
        call = asyncio.ensure_future(pool.run(release.wait, 10))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert pool.pending == 1
        with pytest.raises(RequestError):
            await pool.run(int)
        release.set()
        while pool.pending:
            await asyncio.sleep(0)
        assert await pool.run(int) == 0

    run(test, threads=1, waiting=0)


@pytest.mark.parametrize(
    ("text", "same"), [("", "  "), ("red chair", " red\n chair "), ("é", "e\u0301"), ("a b", "a\u00a0b")]
)
def test_texts_that_differ_in_blanks_or_composition_are_one(text: str, same: str):
    assert normalised(text) == normalised(same)


def test_whoever_asks_while_a_text_is_computed_waits_for_that():
    asked: list[str] = []
    told: list[str] = []

    async def compute(text: str) -> Any:
        asked.append(text)
        await asyncio.sleep(0)
        return np.ones(2, np.float32)

    async def test(_: Pool) -> None:
        cache = TextCache(compute, 10, told.append)
        await asyncio.gather(cache("a"), cache(" a "), cache("b"))
        await cache("a")

    run(test)
    assert (asked, told) == (["a", "b"], ["miss", "hit", "miss", "hit"])


def test_the_least_recently_used_text_goes_first():
    asked: list[str] = []

    async def compute(text: str) -> Any:
        asked.append(text)
        return np.ones(2, np.float32)

    async def test(_: Pool) -> None:
        cache = TextCache(compute, 2, lambda result: None)
        for text in "abacab":
            await cache(text)

    run(test)
    assert asked == ["a", "b", "c", "b"]


def test_a_text_that_failed_is_tried_again():
    answers = iter([OSError("gone"), np.ones(2, np.float32)])

    async def compute(_: str) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def test(_: Pool) -> Any:
        cache = TextCache(compute, 2, lambda result: None)
        with pytest.raises(OSError, match="gone"):
            await cache("a")
        return await cache("a")

    assert run(test).tolist() == [1, 1]


def test_a_request_that_goes_away_does_not_end_the_computation_for_others():
    async def compute(_: str) -> Any:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return np.ones(2, np.float32)

    async def test(_: Pool) -> Any:
        cache = TextCache(compute, 2, lambda result: None)
        gone, stays = asyncio.ensure_future(cache("a")), asyncio.ensure_future(cache("a"))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert run(test).tolist() == [1, 1]
