"""Renders pictures with captions as HTML, for notebooks to show hits, groups, decisions and stores."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from html import escape
from itertools import islice
from typing import NamedTuple

from datumaro_clip.errors import ImageError
from datumaro_clip.images import ImageLike, decode
from datumaro_clip.images.small import small_picture

#: At most so many pictures are shown; the others are counted.
MOST = 24
_SIDE, _BYTES, _LETTERS = 160, 6_000, 14

# The colours are the notebook's own, light or dark; the class keeps the style to the gallery.
_STYLE = """
.datumaro-clip { font: 13px/1.4 system-ui, sans-serif; }
.datumaro-clip ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 10px;
  margin: 8px 0; padding: 0; list-style: none; }
.datumaro-clip li { margin: 0; padding: 6px; border-radius: 8px;
  border: 1px solid color-mix(in srgb, currentColor 22%, transparent); overflow: hidden; }
.datumaro-clip img, .datumaro-clip i { display: grid; place-content: center; width: 100%; height: 120px; margin: 0;
  object-fit: contain; background: color-mix(in srgb, currentColor 7%, transparent); border-radius: 4px; }
.datumaro-clip b, .datumaro-clip span { display: block; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.datumaro-clip span, .datumaro-clip p { opacity: .75; }
.datumaro-clip p { margin: 0; }
""".replace("\n", " ")


class Tile(NamedTuple):
    """A picture with its name and a caption.

    Attributes
    ----------
    name : str
    words : str
        The caption.
    picture : callable or None
        Returns the picture; None if there is none.
    """

    name: str
    words: str = ""
    picture: Callable[[], ImageLike] | None = None


def gallery(title: str, tiles: Iterable[Tile], total: int) -> str:
    """Render a title and the first pictures as HTML, for ``_repr_html_``.

    Parameters
    ----------
    title : str
    tiles : iterable of Tile
        In order; only the first 24 are consumed, and their pictures read.
    total : int
        How many there are.
    """
    drawn = [_drawn(tile) for tile in islice(tiles, MOST)]
    more = f"<p>and {total - len(drawn):,} more</p>" if total > len(drawn) else ""
    shown = f"<ul>{''.join(drawn)}</ul>" if drawn else ""
    told = f'<div class="datumaro-clip"><style>{_STYLE}</style><p>{escape(title)}</p>{shown}{more}</div>'
    # Bytes of a name that are no UTF-8 are escaped: a notebook cannot receive them.
    return told.encode(errors="backslashreplace").decode()


def _drawn(tile: Tile) -> str:
    words = f'<span title="{escape(tile.words)}">{escape(tile.words)}</span>' if tile.words else ""
    # Paths differ at their ends.
    name = tile.name if len(tile.name) <= _LETTERS else f"…{tile.name[1 - _LETTERS :]}"
    return f'<li>{_image(tile)}<b title="{escape(tile.name)}">{escape(name)}</b>{words}</li>'


def _image(tile: Tile) -> str:
    if tile.picture is None:
        return "<i>no picture</i>"
    try:
        small = small_picture(decode(tile.picture(), target=_SIDE), limit=_BYTES)
    except ImageError as exc:
        return f'<i title="{escape(str(exc))}">{escape(exc.reason)}</i>'
    return f'<img alt="" src="data:image/webp;base64,{base64.b64encode(small).decode("ascii")}">'
