"""One string for a store, a subset and an id, which URLs, proxies and browsers leave as it is."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from datumaro_clip.errors import OptionError
from datumaro_clip.vectors import ItemKey

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_PART = re.compile(r"(?:[A-Za-z0-9_.-]|~[0-9A-F]{2})+|~")


class ImageId(NamedTuple):
    """An item of a served store; ``str()`` writes it as in ``products/train/a~2Fb``.

    Attributes
    ----------
    store : str
        The store's name.
    key : ItemKey
    """

    store: str
    key: ItemKey

    def __str__(self) -> str:
        return "/".join(map(_escape, (self.store, self.key.subset, self.key.id)))

    @classmethod
    def parse(cls, text: str) -> ImageId:
        """Read what ``str()`` writes.

        Raises
        ------
        OptionError
            If the text has another form.
        """
        parts = text.split("/")
        if len(parts) != 3 or not all(map(_PART.fullmatch, parts)):
            raise OptionError("an image_id is STORE/SUBSET/ID, as searches and ingest give it")
        try:
            store, subset, id = map(_unescape, parts)
        except UnicodeDecodeError as exc:
            raise OptionError("this image_id has bytes that are no text; take it as searches give it") from exc
        return cls(store, ItemKey(id, subset))


def _escape(part: str) -> str:
    if _PLAIN.fullmatch(part):  # the usual case, in half the time
        return part
    text = quote(part.encode("utf-8", "surrogatepass"), safe="").replace("~", "%7E").replace("%", "~")
    # Browsers resolve "." and ".." in a path, even where they are percent-encoded.
    return f"~2E{text[1:]}" if text in (".", "..") else text or "~"


def _unescape(part: str) -> str:
    return "" if part == "~" else unquote_to_bytes(part.replace("~", "%")).decode("utf-8", "surrogatepass")
