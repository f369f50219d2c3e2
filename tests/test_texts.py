"""Tokenising equals the model's own tokenizer; batches are of like length."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datumaro_clip.embedding import embed_texts
from datumaro_clip.errors import ModelFormatError, TextError
from datumaro_clip.model.loading import load_model
from datumaro_clip.testing.fake_encoder import FakeEncoder
from datumaro_clip.texts import DEFAULT_PROMPT, TextSettings, Tokenizer, Tokens, fill_prompt, length_batches

CLIP = {"context_length": 77, "padding": "longest", "pad_id": 49407, "lowercase": False, "attention_mask": True}
START, END = 49406, 49407
WORDS = ["a", "photo", "of", "Café", "naïve", "ﬁne", "İstanbul", "ǅ", "ẞ", "don't", "we'll", "x'D", "1,000.50",
         "ｆｕｌｌ", "e\u0301", "<|endoftext|>", "<|startoftext|>", "&amp;", "<b>", "\t", "\r\n", "\u00a0", "\u200b",
         "\ufeff", "…",
         "👩‍👩‍👧‍👦", "🇺🇦", "👍🏽", "½", "Ⅷ", "٣", "漢字", "ひらがな", "한국어",
         "हिन्दी", "ไทย", "שלום", "مرحبا"]  # fmt: skip


@pytest.fixture(scope="module")
def clip(shared: Path) -> Tokenizer:
    """CLIP's own tokenizer."""
    return Tokenizer.from_file(shared / "models/clip_tokenizer/tokenizer.json", TextSettings(**CLIP))


@pytest.fixture
def fake() -> Tokenizer:
    """A tokenizer of one token a byte."""
    return FakeEncoder().tokenizer


def generated_texts(count: int) -> list[str]:
    """Texts of every script, emoji, marks and controls; empty ones and ones of 10,000 characters."""
    generator = random.Random(20)
    assigned = [chr(c) for c in range(0x20000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    texts = ["", " ", "\n", "a" * 10_000, "漢" * 10_000, "a b " * 2500, "🙂" * 10_000, "".join(WORDS)]
    while len(texts) < count:
        parts = [generator.choice(WORDS) if generator.random() < 0.5 else "".join(generator.choices(assigned, k=4))
                 for _ in range(generator.choice((1, 3, 8, 40)))]  # fmt: skip
        texts.append(generator.choice((" ", "", "  ")).join(parts))
    return texts


@pytest.mark.export
def test_ten_thousand_texts_give_the_tokens_of_transformers(shared: Path, clip: Tokenizer) -> None:
    """A caption's tokens, or where it is cut, differ from those that the model was trained on."""
    transformers = pytest.importorskip("transformers", reason="needs the export extra")
    folder = shared / "models/clip_tokenizer"
    theirs = transformers.CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    texts = generated_texts(10_000)
    ours = clip.encode(texts)
    assert ours.ids == theirs(texts, truncation=True, max_length=77)["input_ids"]
    whole = theirs(texts)["input_ids"]
    assert ours.truncated == sum(len(ids) > 77 for ids in whole) > 5


def test_known_texts_give_known_tokens(clip: Tokenizer) -> None:
    assert clip.encode([]) == Tokens([], 0, clip.settings)
    assert clip.encode(["", "a photo of a cat"]).ids == [[START, END], [START, 320, 1125, 539, 320, 2368, END]]


def test_a_long_text_is_cut_keeps_its_end_and_is_counted(clip: Tokenizer) -> None:
    tokens = clip.encode(["cat " * 75, "cat " * 76, "cat"])
    assert [len(ids) for ids in tokens.ids] == [77, 77, 3]
    assert tokens.ids[1][-1] == END
    assert tokens.truncated == 1


def test_lowercase_settings_lower_the_text_first(fake: Tokenizer) -> None:
    lower = Tokenizer(FakeEncoder()._bytes, replace(fake.settings, lowercase=True))
    assert lower.encode(["A RED Car"]).ids == fake.encode(["a red car"]).ids


@pytest.mark.parametrize("value", [None, 3, b"bytes", ["list"]])
def test_what_is_no_text_is_refused_by_its_position(value: Any, fake: Tokenizer) -> None:
    with pytest.raises(TextError, match=f"text 1 is of type {type(value).__name__}"):
        fake.encode(["fine", value])


def test_a_lone_surrogate_is_refused(fake: Tokenizer) -> None:
    with pytest.raises(TextError, match=r"text 0 \('bad \\ud800'\) has a lone surrogate"):
        fake.encode(["bad \ud800"])


# Batches


def test_no_texts_make_no_batches(fake: Tokenizer) -> None:
    assert list(length_batches(fake.encode([]), 4)) == []


@given(st.lists(st.text(max_size=30)), st.integers(1, 5))
def test_batches_hold_each_text_once_longest_first_and_pad_nothing(texts: list[str], batch_size: int) -> None:
    tokens = FakeEncoder().tokenizer.encode(texts)
    batches = list(length_batches(tokens, batch_size))
    assert sorted(int(i) for indices, _ in batches for i in indices) == list(range(len(texts)))
    lengths = [batch.attention_mask.sum(axis=1).tolist() for _, batch in batches]
    assert list(chain.from_iterable(lengths)) == sorted(map(len, tokens.ids), reverse=True)
    for (indices, batch), row_lengths in zip(batches, lengths, strict=True):
        assert len(batch) == len(indices) <= batch_size
        assert len(set(row_lengths)) == 1
        assert batch.input_ids.shape == batch.attention_mask.shape == (len(batch), row_lengths[0])
        for row, index in enumerate(indices):
            kept = batch.input_ids[row][batch.attention_mask[row] == 1]
            assert kept.tolist() == tokens.ids[index]


def test_a_batch_is_int64_and_padded_with_the_models_token(clip: Tokenizer) -> None:
    batch = clip.encode(["a cat", "a"]).batch([0, 1])
    assert batch.input_ids.dtype == batch.attention_mask.dtype == np.int64
    assert batch.input_ids.tolist() == [[START, 320, 2368, END], [START, 320, END, END]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]


def test_models_trained_at_full_length_are_always_padded_to_it() -> None:
    full = Tokenizer(FakeEncoder()._bytes, TextSettings(64, "max_length", pad_id=0))
    ((_, batch),) = length_batches(full.encode(["short"]), 8)
    assert batch.input_ids.shape == (1, 64)


def test_a_texts_vector_does_not_depend_on_what_it_is_computed_with() -> None:
    """By real inference: texts of other lengths, in any number, change no bit."""
    encoder = load_model("tiny", precision="f32")
    words = "a red blue hat dog on the beach small large striped mug with umbrella lying under".split()  # noqa: SIM905 - a list of words
    draw = random.Random(1)
    texts = list(dict.fromkeys(" ".join(draw.choices(words, k=draw.randrange(1, 18))) for _ in range(120)))
    together = embed_texts(texts, encoder)
    for part in (texts[:1], texts[5:20], texts[60:]):
        np.testing.assert_array_equal(embed_texts(part, encoder), together[[texts.index(text) for text in part]])


@pytest.mark.parametrize(("name", "said"), [("dog", "a photo of a dog"), ("hot_dog", "a photo of a hot dog")])
def test_one_prompt_is_filled_in_one_way(name: str, said: str) -> None:
    assert fill_prompt(DEFAULT_PROMPT, name) == said


# Settings


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "context_length"),
        (CLIP | {"colour": 1}, "colour"),
        (CLIP | {"padding": "short"}, "neither 'longest' nor 'max_length'"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFormatError, match=message):
        TextSettings.from_mapping(mapping)


@pytest.mark.parametrize("content", ["", "{}", "junk"])
def test_a_file_that_is_no_tokenizer_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ModelFormatError, match=r"tokenizer\.json is not a tokenizer"):
        Tokenizer.from_file(path, TextSettings(**CLIP))
    with pytest.raises(ModelFormatError, match=r"none\.json is not a tokenizer"):
        Tokenizer.from_file(tmp_path / "none.json", TextSettings(**CLIP))
