"""The pipeline gives each request its right result, in order, whatever happens to the others."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datumaro_clip.embedding import EmbedResult, ImageRequest, embed_images, embed_texts
from datumaro_clip.embedding.cache import VectorCache
from datumaro_clip.embedding.workers import Workers
from datumaro_clip.errors import CacheError, ImageError, InferenceError, OptionError, TextError
from datumaro_clip.images import ImageLike
from datumaro_clip.model.encoder import PixelBatch
from datumaro_clip.testing import FakeEncoder
from datumaro_clip.texts import TokenBatch
from datumaro_clip.vectors import FloatArray

RED = (255, 0, 0)


def picture(index: int, side: int = 24) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 255, (side, side, 3), np.uint8)


def requests_of(count: int) -> list[ImageRequest]:
    return [ImageRequest(picture(index)) for index in range(count)]


def vectors(results: list[EmbedResult]) -> FloatArray:
    return np.stack([result.vector for result in results if result.vector is not None])


class LateEncoder(FakeEncoder):
    """Finishes batches only when told to, the newest first."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Future[FloatArray], Future[FloatArray]]] = []

    def submit_pixels(self, pixels: PixelBatch) -> Future[FloatArray]:
        promised: Future[FloatArray] = Future()
        self.held.append((promised, super().submit_pixels(pixels)))
        if len(self.held) == 3:
            self.release()
        return promised

    def release(self) -> None:
        while self.held:
            promised, done = self.held.pop()
            promised.set_result(done.result())


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 300])
@pytest.mark.parametrize("threads", [1, 3])
def test_one_result_a_request_in_order(count: int, threads: int) -> None:
    results = list(embed_images(requests_of(count), FakeEncoder(), threads=threads))
    assert len(results) == count
    if count:
        alone = FakeEncoder().embed_images([picture(index) for index in range(count)])
        np.testing.assert_array_equal(vectors(results), alone)


@settings(max_examples=20)
@given(kinds=st.lists(st.sampled_from("gbrc"), max_size=60), batch_size=st.integers(1, 9))
def test_every_mixture_comes_back_as_it_went_in(kinds: list[str], batch_size: int) -> None:
    """Good, bad, failing and called pictures keep their places and do not affect one another."""
    encoder = FakeEncoder(fail_on=RED)
    makers: dict[str, Callable[[int], ImageRequest]] = {
        "g": lambda index: ImageRequest(picture(index)),
        "c": lambda index: ImageRequest(lambda: picture(index)),
        "b": lambda index: ImageRequest(b"no picture"),
        "r": lambda index: ImageRequest(Image.new("RGB", (8, 8), RED)),
    }
    results = list(embed_images((makers[k](i) for i, k in enumerate(kinds)), encoder, batch_size=batch_size))
    reasons = [result.error.reason if result.error else None for result in results]
    assert reasons == [{"b": "unreadable", "r": "inference"}.get(kind) for kind in kinds]
    for index, result in enumerate(results):
        if kinds[index] in "gc":
            np.testing.assert_array_equal(result.vector, FakeEncoder().embed_images([picture(index)])[0])
        else:
            assert (result.vector, result.source) == (None, "failed")


def test_batches_that_finish_out_of_order_are_put_in_order() -> None:
    encoder = LateEncoder()
    results = list(embed_images(requests_of(48), encoder, batch_size=16))
    np.testing.assert_array_equal(vectors(results), FakeEncoder().embed_images(map(picture, range(48))))


class OnDemand(Future[FloatArray]):
    """Done once its result is asked for."""

    def __init__(self, rows: FloatArray) -> None:
        super().__init__()
        self._rows = rows

    def result(self, timeout: float | None = None) -> FloatArray:
        if not self.done():
            self.set_result(self._rows)
        return super().result(timeout)


class TwoAtATime(FakeEncoder):
    """Computes two batches at a time, and remembers how many pictures each had."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self._busy: deque[OnDemand] = deque(maxlen=2)

    def submit_pixels(self, pixels: PixelBatch) -> Future[FloatArray]:
        self.sizes.append(len(pixels))
        if len(self._busy) == 2:
            self._busy[0].result()
        self._busy.append(OnDemand(super().submit_pixels(pixels).result()))
        return self._busy[-1]


def test_batches_grow_smaller_towards_the_end_so_that_all_streams_end_together() -> None:
    """One stream computes a last full batch while the others have nothing to do."""
    encoder = TwoAtATime()
    results = list(embed_images(requests_of(300), encoder, batch_size=32, threads=1))
    np.testing.assert_array_equal(vectors(results), FakeEncoder().embed_images(map(picture, range(300))))
    assert encoder.sizes[:6] == [32] * 6
    assert encoder.sizes == sorted(encoder.sizes, reverse=True)
    assert encoder.sizes[-1] <= 4


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (8, [4, 4]), (16, [8, 4, 4]), (5, [4, 1])])
def test_a_few_pictures_are_shared_out_too(count: int, sizes: list[int]) -> None:
    encoder = TwoAtATime()
    list(embed_images(requests_of(count), encoder, batch_size=16))
    assert encoder.sizes == sizes


def test_requests_are_taken_only_a_few_batches_ahead() -> None:
    taken = 0

    def endless() -> Iterator[ImageRequest]:
        nonlocal taken
        while True:
            taken += 1
            yield ImageRequest(picture(taken % 50))

    results = embed_images(endless(), FakeEncoder(), batch_size=4, threads=2)
    for _ in range(200):
        next(results)
    assert taken <= 200 + 12 * 4 + 2
    results.close()  # type: ignore[attr-defined]


def test_a_slow_first_batch_does_not_let_results_pile_up() -> None:
    """Without a bound, failures pile up behind a picture that is being computed."""
    taken = 0
    stuck: Future[FloatArray] = Future()
    encoder = FakeEncoder()
    encoder.submit_pixels = lambda pixels: stuck  # type: ignore[method-assign]

    def one_good_then_broken() -> Iterator[ImageRequest]:
        nonlocal taken
        yield ImageRequest(picture(0))
        while taken < 2000:
            taken += 1
            yield ImageRequest(b"broken")

    results = embed_images(one_good_then_broken(), encoder, batch_size=4, threads=1)
    thread = threading.Thread(target=lambda: list(results))
    thread.start()
    thread.join(0.5)
    ahead = taken
    stuck.set_result(np.zeros((1, 64), np.float32))
    thread.join(20)
    assert ahead < 200
    assert taken == 2000


def test_closing_stops_the_threads() -> None:
    before = set(threading.enumerate())
    results = embed_images(requests_of(500), FakeEncoder(), threads=4)
    next(results)
    started = set(threading.enumerate()) - before
    results.close()  # type: ignore[attr-defined]
    for thread in started:
        thread.join(5)
    assert len(started) == 4
    assert not any(thread.is_alive() for thread in started)


def test_an_error_of_the_requests_reaches_the_caller() -> None:
    def failing() -> Iterator[ImageRequest]:
        yield from requests_of(3)
        raise RuntimeError("the dataset broke")

    with pytest.raises(RuntimeError, match="the dataset broke"):
        list(embed_images(failing(), FakeEncoder()))


@pytest.mark.parametrize("error", [OSError("disk gone"), KeyError("x"), ImageError("missing", "not there")])
def test_a_function_that_cannot_give_its_picture_fails_alone(error: Exception) -> None:
    def broken() -> ImageLike:
        raise error

    results = list(embed_images([*requests_of(2), ImageRequest(broken), *requests_of(2)], FakeEncoder()))
    assert [result.error is not None for result in results] == [False, False, True, False, False]
    assert results[2].error is not None
    assert results[2].error.reason == getattr(error, "reason", "unreadable")


def test_the_second_run_computes_nothing(tmp_path: Path) -> None:
    with VectorCache(tmp_path) as cache:
        encoder = FakeEncoder()
        first = list(embed_images(requests_of(40), encoder, cache=cache))
        second = list(embed_images(requests_of(40), encoder, cache=cache))
    assert Counter(result.source for result in second) == {"cache": 40}
    assert encoder.pictures_computed == 40
    np.testing.assert_array_equal(vectors(first), vectors(second))


def test_few_misses_among_many_hits_are_still_computed_in_batches(tmp_path: Path) -> None:
    with VectorCache(tmp_path) as cache:
        list(embed_images(requests_of(300)[::2], FakeEncoder(), cache=cache))
        encoder = FakeEncoder()
        results = list(embed_images(requests_of(300), encoder, cache=cache))
    assert encoder.pictures_computed == 150
    assert [result.source for result in results[:4]] == ["cache", "computed", "cache", "computed"]
    np.testing.assert_array_equal(vectors(results), FakeEncoder().embed_images(map(picture, range(300))))


def test_a_changed_file_and_another_box_are_computed_anew(tmp_path: Path) -> None:
    path, encoder = tmp_path / "a.png", FakeEncoder()
    with VectorCache(tmp_path / "cache") as cache:
        for index in (1, 1, 2):
            Image.fromarray(picture(index)).save(path)
            list(embed_images([ImageRequest(path), ImageRequest(path, (2, 2, 9, 9))], encoder, cache=cache))
    assert encoder.pictures_computed == 4


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vector of the new content would be cached under the old content's key."""
    from datumaro_clip.embedding import requests

    path, encoder = tmp_path / "a.png", FakeEncoder()
    Image.fromarray(picture(1)).save(path)

    def digest_then_change(image: ImageLike) -> bytes:
        digest = content_digest(image)
        Image.fromarray(picture(2, side=30)).save(path)
        return digest

    content_digest = requests.content_digest
    with VectorCache(tmp_path / "cache") as cache:
        monkeypatch.setattr(requests, "content_digest", digest_then_change)
        list(embed_images([ImageRequest(path)], encoder, cache=cache))
        assert cache.info().vectors == 0


def test_scaled_and_exact_decoding_are_kept_apart(tmp_path: Path) -> None:
    path, encoder = tmp_path / "large.jpg", FakeEncoder()
    Image.fromarray(picture(3, side=600)).save(path)
    with VectorCache(tmp_path / "cache") as cache:
        exact = list(embed_images([ImageRequest(path)], encoder, cache=cache, exact_decode=True))
        scaled = list(embed_images([ImageRequest(path)], encoder, cache=cache))
    assert encoder.pictures_computed == 2
    np.testing.assert_array_equal(scaled[0].vector, FakeEncoder().embed_images([path])[0])
    assert vectors(exact)[0] @ vectors(scaled)[0] > 0.999


@pytest.mark.parametrize(("batch_size", "threads"), [(0, None), (None, 0), (-1, 1)])
def test_options_that_cannot_work_are_refused(batch_size: int | None, threads: int | None) -> None:
    with pytest.raises(OptionError, match="at least 1"):
        embed_images([], FakeEncoder(), batch_size=batch_size, threads=threads)


def test_a_cache_that_fails_is_an_error_and_not_a_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(keys: object, vectors: object) -> None:
        raise CacheError("the disk is full")

    with VectorCache(tmp_path) as cache:
        monkeypatch.setattr(cache, "put", full)
        with pytest.raises(CacheError, match="disk is full"):
            list(embed_images(requests_of(20), FakeEncoder(), cache=cache))


@pytest.mark.parametrize(
    "texts", [[], ["a"], ["a red car", "blue", "a red car", ""] * 9 + [f"word {i}" for i in range(50)]]
)
def test_texts_are_computed_once_and_come_in_order(texts: list[str], tmp_path: Path) -> None:
    wanted, encoder = FakeEncoder().embed_texts(texts), FakeEncoder()
    with VectorCache(tmp_path) as cache:
        for chosen in (None, cache, cache):
            rows = embed_texts(texts, encoder, cache=chosen, batch_size=4)
            assert (rows.shape, rows.dtype) == ((len(texts), 64), np.float32)
            np.testing.assert_array_equal(rows, wanted)
    assert encoder.texts_computed == 2 * len(set(texts))


def test_texts_found_and_computed_are_mixed_right(tmp_path: Path) -> None:
    texts = [f"text {index} {'long ' * (index % 5)}" for index in range(60)]
    with VectorCache(tmp_path) as cache:
        embed_texts(texts[::3], FakeEncoder(), cache=cache)
        np.testing.assert_array_equal(embed_texts(texts, FakeEncoder(), cache=cache), FakeEncoder().embed_texts(texts))


def test_texts_that_fail_raise(tmp_path: Path) -> None:
    class Broken(FakeEncoder):
        def submit_tokens(self, tokens: TokenBatch) -> Future[FloatArray]:
            future: Future[FloatArray] = Future()
            future.set_exception(InferenceError("no"))
            return future

    with VectorCache(tmp_path) as cache:
        with pytest.raises(InferenceError):
            embed_texts(["a"], Broken(), cache=cache)
        with pytest.raises(TextError):
            embed_texts(["\ud800"], FakeEncoder(), cache=cache)


@pytest.mark.parametrize("wrong", [1, ["list"], "\ud800"])
def test_what_is_no_text_is_named_by_its_place(wrong: str, tmp_path: Path) -> None:
    texts = ["a", "a", "b", wrong]
    with VectorCache(tmp_path) as cache, pytest.raises(TextError, match="text 3"):
        embed_texts(texts, FakeEncoder(), cache=cache)
    with pytest.raises(TextError, match="text 3"):
        FakeEncoder().embed_texts(texts)


def test_a_single_text_is_not_taken_for_its_letters() -> None:
    with pytest.raises(TextError, match="put it in a list"):
        FakeEncoder().embed_texts("a red hat")
    with pytest.raises(TextError, match="put it in a list"):
        embed_texts("a red hat", FakeEncoder())


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_of_no_text_are_refused(batch_size: int) -> None:
    with pytest.raises(OptionError, match="at least 1"):
        embed_texts(["a"], FakeEncoder(), batch_size=batch_size)


def test_boxes_of_one_picture_that_is_not_loaded_yet(tmp_path: Path) -> None:
    """Pillow reads a file wrongly if two threads load it at once."""
    pixels = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    boxes = [(0, 0, 20 + size, 30) for size in range(16)]
    with Image.open(tmp_path / "a.png") as lazy:
        results = list(embed_images([ImageRequest(lazy, box) for box in boxes], FakeEncoder(), threads=8))
    assert [result.error for result in results] == [None] * len(boxes)


def test_workers_pass_on_what_their_function_raises() -> None:
    def inverses(*numbers: int) -> Workers[int, float]:
        return Workers(lambda number: 1 / number, numbers, threads=2, ahead=2)

    with closing(inverses(1, 2, 4)) as results:
        assert list(results) == [1, 0.5, 0.25]
    with pytest.raises(ZeroDivisionError), closing(inverses(1, 0)) as results:
        list(results)


@pytest.mark.parametrize(("cpus", "threads"), [(1, 2), (4, 4), (64, 16)])
def test_the_number_of_threads_follows_the_cpus(cpus: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from datumaro_clip.embedding import images

    begun: list[int] = []
    workers = images.Workers
    monkeypatch.setattr(images, "available_processors", lambda: cpus)
    monkeypatch.setattr(images, "Workers", lambda *given: begun.append(given[2]) or workers(*given))
    assert len(list(embed_images(requests_of(3), FakeEncoder()))) == 3
    assert begun == [threads]


def test_openvino_gives_through_the_pipeline_what_it_gives_alone(random_clip: Path, tmp_path: Path) -> None:
    """Real inference requests: rows mixed up, or buffers used again too early."""
    from datumaro_clip.model.loading import load_model

    encoder = load_model(random_clip, precision="f32")
    pictures = [picture(index, side=40) for index in range(50)]
    alone = np.concatenate([encoder.embed_images([one]) for one in pictures])
    with VectorCache(tmp_path) as cache:
        results = list(embed_images(map(ImageRequest, pictures), encoder, cache=cache, batch_size=8))
        again = list(embed_images(map(ImageRequest, pictures), encoder, cache=cache, batch_size=8))
    np.testing.assert_array_equal(vectors(results), alone)
    np.testing.assert_array_equal(vectors(again), vectors(results))
    assert {result.source for result in again} == {"cache"}


def test_what_nobody_has_begun_is_given_up() -> None:
    begun: list[int] = []
    waits, goes_on = threading.Event(), threading.Event()

    def work(task: int) -> int:
        begun.append(task)
        if task == 1:
            waits.set()
            assert goes_on.wait(60)
        return task

    before = set(threading.enumerate())
    with closing(Workers(work, range(9), threads=1, ahead=4)) as results:
        assert next(results) == 0
        assert waits.wait(60)
    goes_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert begun == [0, 1]
