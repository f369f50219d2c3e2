"""Each defect of pictures and captions is found under its name, and good ones pass."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks import captions
from datumaro_clip.curate.captions import CAPTION_REASONS, _kind, judge_caption
from datumaro_clip.curate.clean import PictureFacts, picture_findings, spread


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (PictureFacts(None, 64, 64), None),
        (PictureFacts("truncated"), "truncated"),
        (PictureFacts(None, 31, 40), "too_small"),
        (PictureFacts(None, 40, 400), "odd_shape"),
        (PictureFacts(None, 64, 64, 3.0), "blank"),
    ],
)
def test_pictures(facts: PictureFacts, reason: str | None):
    assert [found.reason for found in picture_findings(facts)] == ([] if reason is None else [reason])


def test_everything_that_is_wrong_with_a_picture_is_told():
    found = picture_findings(PictureFacts(None, 10, 400, 3.0))
    assert [each.reason for each in found] == ["too_small", "odd_shape", "blank"]


def test_noise_does_not_hide_a_blank_picture_and_a_small_figure_is_seen():
    noise = np.random.default_rng(0).integers(118, 138, (400, 600, 3)).astype(np.uint8)
    assert spread(Image.fromarray(noise)) < 8
    noise[200:240, 300:340] = 10
    assert spread(Image.fromarray(noise)) > 30


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_caption"),
        (" \n", "empty_caption"),
        ("a dog\x07 runs", "control_characters"),
        ("a d\ufffdg", "replacement_characters"),
        ("un sac Ã\xa0 main", "mojibake"),
        ("it isnâ€™t here", "mojibake"),
        ("a <b>red</b> shoe", "markup"),
        ("salt &amp; pepper", "markup"),
        ('<img src="hat.png" alt=hat />', "markup"),
        ("x6&8}9&j4|#~*@<k5 v>9z7<>x8<=^6|8q+<#<~", "garbled_caption"),
        ("q#z@^^|{x} 0=7*k", "garbled_caption"),
        ("qxzk wjvx zzkq", "garbled_caption"),
        ("vj |74796j5++|1<%x&v3", "garbled_caption"),
        ("4q0&", "garbled_caption"),
        ("WD-40, 100 % oil, £5/kg (2024)", None),
        ("a C++11 book", None),
        ("2024-05-01 12:30", None),
        ("A dog, 3 cats & a bird: 50% off! (£5)", None),
        ("une armoire bleue à rayures, l’été", None),
        ("犬が走る", None),
        ("一只猫，一条狗。", None),
        ("赤い傘、白い背景。", None),
        ("小さい「猫」　《本》。", None),
        ("قطة، كلب؛ أين؟", None),
        ("a happy face \U0001fae8", None),
        ("†‡•‰†‡•‰ hat", "garbled_caption"),
        ("a red hat\ufdd0", "control_characters"),
        ("Straße über Größe", None),
        ("NYC TV BMW", None),
        ("x < y and y > z", None),
        ("10×20×30 cm", None),
        ("hot_dog_bun", None),
        ("#ootd #fyp", None),
        ("Love this 😍😍😍", None),
        ("5★★★★★ hotel", None),
        ("pfft, shh, hmm", None),
        ("a{}b|c<d>9^q", "garbled_caption"),
    ],
)
def test_captions(text: str, reason: str | None):
    found = judge_caption(text)
    assert (found.reason if found else None) == reason


@pytest.mark.parametrize("encoding", captions.ENCODINGS)
def test_french_read_in_a_wrong_encoding_is_found(encoding: str):
    read = "une armoire bleue à rayures, l’été".encode().decode(encoding, "replace")
    # Of Latin-1, some bytes are control characters, which are told first; of others, some are nothing.
    first = {"latin-1": "control_characters", "cp1252": "mojibake", "cp1251": "mojibake"}
    assert judge_caption(read).reason == first.get(encoding, "mojibake")


def test_russian_is_no_mojibake_and_russian_mojibake_is():
    russian = "красная сумка «Ёлка», 2 шт. — вид сверху… ДОМ №1"
    assert judge_caption(russian) is None
    assert judge_caption("красная сумка".encode().decode("cp1251")).reason == "mojibake"


def test_captions_of_the_world_pass_and_broken_ones_do_not():
    """The benchmark's captions, those of ``../shared`` aside: of the good at most 0.2 %, of the bad at least 98 %."""
    theirs = set(captions._shared())
    good = [text for text in captions.good_captions(1) if text not in theirs]
    assert len(good) > 400
    called = [text for text in good if judge_caption(text) is not None]
    assert len(called) <= 0.002 * len(good)
    for kind, bad in captions.bad_captions(good, 1).items():
        missed = [text for text in bad if judge_caption(text) is None]
        assert len(missed) <= 0.02 * len(bad), (kind, missed[:5])


@pytest.mark.parametrize(("text", "short"), [("hat", True), ("red hat", False), ("赤い", False)])
def test_words_are_counted_where_words_are_written(text: str, short: bool):
    found = judge_caption(text, 2)
    assert (found is not None) == short


@pytest.mark.parametrize("off", CAPTION_REASONS)
def test_every_caption_reason_can_be_switched_off(off: str):
    checks = [reason for reason in CAPTION_REASONS if reason != off]
    found = judge_caption("<b>q#\x07z\ufffd@^ Ã©</b>" if off != "empty_caption" else "", 9, checks)
    assert found is None or found.reason != off


@pytest.mark.parametrize(
    ("char", "kind"),
    [
        ("a", "L"),
        ("ß", "L"),
        ("7", "D"),
        ("½", "D"),
        ("+", "+"),
        (".", "P"),
        ("…", "P"),
        ("$", "S"),
        ("€", "S"),
        ("\u0301", ""),
    ],
)
def test_characters_are_letters_digits_punctuation_symbols_or_themselves(char: str, kind: str):
    assert _kind(char) == kind
