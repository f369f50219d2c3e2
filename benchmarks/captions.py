"""How clip_clean judges captions written by people, and broken captions: ``python -m benchmarks.captions``.

Good ones: 2,000 titles and descriptions of products, captions of COCO (where ``../shared`` is), the drawn catalogue's
in English and French, and drawn ones in ten scripts with hashtags, emoji, units, signs and product codes. Bad ones are
made of them: texts read in a wrong encoding (five of them), markup, control characters, lost characters, noise.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator

from benchmarks import SHARED
from datumaro_clip.curate.captions import judge_caption
from datumaro_clip.demo.catalogue.captions import LANGUAGES, describe
from datumaro_clip.demo.catalogue.plan import GARBAGE, plan_catalogue

COUNT = 2000
SCRIPTS = (
    "красная сумка на пляже|синий зонт, 2 шт.|Ёлка в лесу — вид сверху",
    "κόκκινη τσάντα στην παραλία|μπλε ομπρέλα· 2 τεμ.",
    "تيشيرت أحمر، مقاس كبير|قطة وكلب؛ أين؟",
    "תיק אדום על החוף|מטרייה כחולה (2 יח׳)",
    "लाल थैला समुद्र तट पर|नीली छतरी।",
    "กระเป๋าสีแดงบนชายหาด|ร่มสีฟ้า 2 คัน",
    "빨간 가방, 해변에서|파란 우산 2개입",
    "赤い傘、白い背景。|小さい「猫」のバッグ★送料無料★",
    "红色雨伞，白色背景。|【新品】蓝色背包 30L",
    "წითელი ჩანთა სანაპიროზე|ლურჯი ქოლგა",
)
WRITTEN = (
    "10×20×30 cm", "hot_dog_bun", "#ootd #fyp", "Love this 😍😍😍", "5★★★★★ hotel", "#tbt #nyc #lgbtq", "R&D2 mug",
    "SKU-4471-BX/12 hose clamp", "WH-1000XM4 headphones (black)", "RTX3080Ti-8GB @ €799", "AB12#3", "C#4 major",
    "rock'n'roll 80's tee", '100%cotton, 5\'11" model', "2-pack [NEW] *limited*", "Nike | Air Max | men",
    "≤5 °C, ±0.5", "mail me: a.b@shop.example", "https://shop.example/p?id=12&c=red", "@studio_x x @label2",
    "½ price — ¥2,000/€15!!!", "3.5mm→6.35mm adapter", "H₂O bottle, 750mL", "🇫🇷 made in France ✓",
    "👩‍👩‍👧 at the zoo 🦒", "~5cm^2 patch", "4*6 in. print", "C++11 & Qt5", "1+1=2 poster", "size S/M/L/XL/XXL",
    "“quoted” ‘text’ «ici» „da“", "TL;DR: good", "A4/90g/m²", "IMG_2041.JPG", "M&M's 45g", "N°5 L'Eau 50ml",
    "12V/5A, 60W", "snake_case_label_2", "black/white/red", "t-shirt tshrt blk lrg", "№ 7 · 2 шт",
    "☆☆☆ sale ☆☆☆", "→ left ← right", "$19.99 (was $29.99)", "☎ 555-0199", "•  one  •  two",
    "café crème – 4,50 €", "key: A#1, B#2", "hm, brr, pfft, shh", "x2 spf50+ uva/uvb", "p&p incl.", "#1 dad",
    "no.1 @ home", "1080p60 8-bit h.264",
)  # fmt: skip


def good_captions(seed: int = 0) -> list[str]:
    """Up to 2,000 captions, in an order that the seed decides."""
    rng = random.Random(seed)
    drawn = [
        describe(entry.spec.attributes, language, rng) for entry in plan_catalogue(300, seed) for language in LANGUAGES
    ]
    scripts = [part for each in SCRIPTS for part in each.split("|")]
    mixed = [f"{rng.choice(drawn)} {rng.choice(WRITTEN)}" for _ in range(150)]
    codes = [f"{_code(rng)} {rng.choice(('', 'cable', 'filter', 'lamp'))}".strip() for _ in range(150)]
    own = [*WRITTEN, *scripts, *mixed, *codes, *rng.sample(drawn, min(len(drawn), 400))]
    others = list(_shared())
    rng.shuffle(others)
    found = list(dict.fromkeys([*own, *others]))[:COUNT]
    rng.shuffle(found)
    return found


def _shared() -> Iterator[str]:
    """Titles, descriptions and captions that cannot be shipped."""
    if (SHARED / "data/products/products.csv").exists():
        with (SHARED / "data/products/products.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield from (row["title"], row["description"])
        for path in sorted((SHARED / "data/coco_mini/annotations").glob("captions_*.json")):
            yield from (each["caption"] for each in json.loads(path.read_text(encoding="utf-8"))["annotations"])


def _code(rng: random.Random) -> str:
    """A product code, as catalogues have them."""
    form = rng.choice(["AA-9999A", "AAA99999", "999.999.99", "A99/999-AA", "AA#999", "AAAA_99", "99×99-AA99", "AA+99"])
    alphabet = {"A": "ABCDEFGHKLMNPRSTVWXZ", "9": "0123456789"}
    return "".join(rng.choice(alphabet.get(char, char)) for char in form)


ENCODINGS = ("cp1252", "latin-1", "mac_roman", "cp437", "cp1251")
MARKUP = ("<b>{}</b>", '<img src="a.png" alt=x> {}', "{}<br/>", "{} &amp; more", "&nbsp;{}", '<p class="t">{}</p>')


def bad_captions(good: list[str], seed: int = 0) -> dict[str, list[str]]:
    """Broken captions by kind."""
    rng = random.Random(seed)
    accented = [text for text in good if any("\x80" < char < "\u0250" or char in "’“”–—€" for char in text)]
    french = [text for text in accented if any(char in "éèêàçôûîïëùœ" for char in text)]
    found = {f"read as {encoding}": list(_misread(french, encoding)) for encoding in ENCODINGS}
    plain = [text for text in good if len(text) > 8 and "<" not in text and "&" not in text]
    found["markup"] = [rng.choice(MARKUP).format(text) for text in rng.sample(plain, 200)]
    found["control characters"] = [
        _with(rng, text, rng.choice("\x00\x07\x1b\x85\x90")) for text in rng.sample(plain, 200)
    ]
    found["lost characters"] = [_with(rng, text, "\ufffd") for text in rng.sample(plain, 200)]
    found["noise"] = ["".join(rng.choice(GARBAGE) for _ in range(rng.randrange(12, 60))) for _ in range(400)]
    return found


def _misread(texts: list[str], encoding: str) -> Iterator[str]:
    """The texts' UTF-8 read in another encoding, where it can be."""
    for text in texts:
        try:
            yield text.encode("utf-8").decode(encoding)
        except UnicodeDecodeError:
            continue


def _with(rng: random.Random, text: str, char: str) -> str:
    place = rng.randrange(1, len(text))
    return text[:place] + char + text[place:]


def main() -> None:
    """Print how many good captions are called garbled, and how many bad ones are found, by kind."""
    good = good_captions()
    judged = [(text, found.reason) for text in good if (found := judge_caption(text)) is not None]
    reasons = Counter(reason for _, reason in judged)
    print(f"{len(good)} good captions; called something: {dict(reasons) or 'none'}")
    for text, reason in judged[:20]:
        print(f"  {reason}: {text!r}")
    for kind, texts in bad_captions(good).items():
        missed = [text for text in texts if judge_caption(text) is None]
        print(f"{kind}: {len(texts) - len(missed)} of {len(texts)} found ({1 - len(missed) / max(len(texts), 1):.1%})")
        for text in missed[:3]:
            print(f"  missed: {text!r}")


if __name__ == "__main__":
    main()
