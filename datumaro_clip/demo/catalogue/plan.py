"""Plans a catalogue: its items, and which defect is planted in each."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from datumaro_clip.demo.catalogue.captions import LANGUAGES, captions, describe
from datumaro_clip.demo.catalogue.spec import BACKGROUNDS, KINDS, SIZES, ItemSpec, distinct_attributes, sample_spec
from datumaro_clip.errors import OptionError

COPIES = ("exact_copy", "reencoded_copy", "resized_copy", "cropped_copy", "brightened_copy")
PICTURE_DEFECTS = (*COPIES, "outlier", "unreadable_file", "missing_file")
CAPTION_DEFECTS = ("foreign_caption", "empty_caption", "garbled_caption")
ANNOTATION_DEFECTS = (*CAPTION_DEFECTS, "wrong_label", "box_outside")
LOOK_ALIKE = "look_alike"
DERIVED = (*COPIES, LOOK_ALIKE)
DEFECT_SHARE = 0.02
FEWEST_ITEMS = 40
PNG_SHARE = 0.15
GARBAGE = "qxzkwjv#%&@~^|{}<>*+=0123456789 "
SUBSETS = {"train": 0.7, "val": 0.15, "test": 0.15}


@dataclass(frozen=True)
class Entry:
    """One item of the catalogue before it is drawn.

    Attributes
    ----------
    id, subset
        As Datumaro will see them.
    spec
        What the picture shows; of an outlier, what its label and captions claim.
    size
        Width and height in pixels, before a copy is altered.
    suffix
        ".jpg" or ".png".
    label
        The kind that the annotation names.
    captions
        In the caption file.
    role
        The planted defect, "look_alike", or "" for a good item.
    of
        The entry that this one copies or resembles.
    caption_index
        Which caption is wrong, for the defects of captions.
    """

    id: str
    subset: str
    spec: ItemSpec
    size: tuple[int, int]
    suffix: str
    label: str
    captions: tuple[str, ...]
    role: str = ""
    of: Entry | None = None
    caption_index: int | None = None

    @property
    def number(self) -> int:
        """The item's place in the catalogue, from 1 on: COCO's id of the picture and of its box."""
        return int(self.id.rpartition("-")[2])

    @property
    def file_name(self) -> str:
        """The picture's file, beside the others of its subset."""
        return f"{self.id}{self.suffix}"

    def caption_id(self, index: int) -> int:
        """COCO's id of the caption at ``index``, which Datumaro keeps."""
        return self.number * 10 + index


def plan_catalogue(items: int, seed: int) -> list[Entry]:
    """Plan the entries of a catalogue; the same arguments give the same entries.

    Raises
    ------
    OptionError
        If there are too few items to plant every defect.
    """
    if items < FEWEST_ITEMS:
        raise OptionError(f"items is {items}: a catalogue needs at least {FEWEST_ITEMS}, to hold every defect")
    rng = random.Random(f"catalogue/{seed}")
    names = {f"item-{number:05d}": role for number, role in enumerate(_roles(items, rng), start=1)}
    fresh = distinct_attributes(rng)
    own = {name: _own(rng, name, role, next(fresh)) for name, role in names.items() if role not in DERIVED}
    good = [entry for entry in own.values() if not entry.role]
    originals = iter(rng.sample(good, len(good)))
    derived = {name: _derived(rng, name, names[name], next(originals)) for name in names if name not in own}
    return [_mislabelled(rng, own[name], good) if name in own else derived[name] for name in names]


def _roles(items: int, rng: random.Random) -> list[str]:
    """Return the role of each item: an equal share of every defect and of look-alikes; the others are good."""
    each = max(1, round(items * DEFECT_SHARE))
    planted = [role for role in (*PICTURE_DEFECTS, *ANNOTATION_DEFECTS, LOOK_ALIKE) for _ in range(each)]
    return rng.sample([*planted, *[""] * (items - len(planted))], items)


def _own(rng: random.Random, name: str, role: str, attributes: dict[str, str]) -> Entry:
    """Plan an entry with a picture of its own."""
    spec = sample_spec(rng, attributes)
    return Entry(
        id=name,
        subset=_subset(rng),
        spec=spec,
        size=_size(rng),
        suffix=".png" if rng.random() < PNG_SHARE else ".jpg",
        label=spec.kind,
        captions=tuple(captions(spec, rng)),
        role=role,
    )


def _subset(rng: random.Random) -> str:
    return rng.choices(list(SUBSETS), weights=list(SUBSETS.values()))[0]


def _size(rng: random.Random) -> tuple[int, int]:
    """Choose width and height from 320 to 640 pixels, in proportions up to 4:3, portrait or landscape."""
    short = rng.randint(320, 480)
    sides = (short, round(short * rng.uniform(1, 1.33)))
    return sides if rng.random() < 0.5 else sides[::-1]


def _derived(rng: random.Random, name: str, role: str, original: Entry) -> Entry:
    """Plan a copy of ``original``, or another picture of such a thing, with other captions."""
    spec = _look_alike(rng, original.spec) if role == LOOK_ALIKE else original.spec
    size = _size(rng) if role == LOOK_ALIKE else original.size
    told = tuple(captions(spec, rng))
    return replace(original, id=name, subset=_subset(rng), spec=spec, size=size, captions=told, role=role, of=original)


def _look_alike(rng: random.Random, spec: ItemSpec) -> ItemSpec:
    """Specify another thing of the same kind, colour and pattern, on another background and of the other size."""
    elsewhere = rng.choice([place for place in BACKGROUNDS if place != spec.background])
    other_size = next(size for size in SIZES if size != spec.size)
    return sample_spec(rng, spec.attributes | {"background": elsewhere, "size": other_size})


def _mislabelled(rng: random.Random, entry: Entry, good: list[Entry]) -> Entry:
    """Plant the defect of the entry's role, if it is one of labels or captions."""
    if entry.role == "wrong_label":
        return replace(entry, label=rng.choice([kind for kind in KINDS if kind != entry.label]))
    if entry.role not in CAPTION_DEFECTS:
        return entry
    index = rng.randrange(len(entry.captions))
    told = list(entry.captions)
    told[index] = _bad_caption(rng, entry, good, told[index])
    return replace(entry, captions=tuple(told), caption_index=index)


def _bad_caption(rng: random.Random, entry: Entry, good: list[Entry], caption: str) -> str:
    """Return the wrong text that replaces ``caption``."""
    if entry.role == "empty_caption":
        return rng.choice(("", " ", "\n"))
    if entry.role == "garbled_caption":
        return "".join(rng.choice(GARBAGE) for _ in caption)
    others = [one for one in good if one.spec.kind != entry.spec.kind and one.spec.colour != entry.spec.colour]
    return describe(rng.choice(others).spec.attributes, rng.choice(LANGUAGES), rng)
