"""``datum-clip search``: the items of a store most similar to a text, a picture or another item."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from datumaro_clip.cli.arguments import at_least, cosine, some_text
from datumaro_clip.embedding import embed, embed_texts
from datumaro_clip.errors import OptionError
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.loading import load_model
from datumaro_clip.search import Hit, SearchIndex, item_vector
from datumaro_clip.store import StoreReader, open_store
from datumaro_clip.vectors import FloatArray, ItemKey, VectorSpace, require_same_space

NAME = "search"
HELP = "find the items of an embedding store most similar to a text, a picture or an item"

_log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.usage = "%(prog)s [options] store (text | --image FILE | --item ID[@SUBSET])"
    parser.add_argument("store", type=Path, help="the store's directory")
    query = parser.add_mutually_exclusive_group(required=True)
    text = query.add_argument("text", nargs="?", type=some_text, help="what the picture shows, in quotation marks")
    text.nargs = None  # With "?", argparse takes it for left out where an option stands between it and the store.
    query.add_argument("--image", type=Path, metavar="FILE", help="a picture")
    query.add_argument("--item", metavar="ID[@SUBSET]", help="an item of the store; it is not among the hits")
    parser.add_argument("-k", type=at_least(1), default=10, help="hits at most (default: %(default)s)")
    parser.add_argument("--subset", nargs="+", metavar="NAME", help="look here only; a text comes before, or after --")
    parser.add_argument("--min-score", type=cosine, help="least cosine similarity, from -1 to 1")
    parser.add_argument("--model", help="model of the query (default: the one that the store's vectors are of)")
    parser.add_argument("--device", default="CPU", help="OpenVINO device (default: %(default)s)")
    parser.add_argument("--precision", default="auto", help="auto, f32, bf16, f16 or int8 (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Search, and print one line a hit: score, item, subset."""
    with open_store(args.store) as store:
        for hit in _hits(store, args):
            print(f"{hit.score:.4f}  {hit.key.id}  {hit.key.subset}")
    return 0


def _hits(store: StoreReader, args: argparse.Namespace) -> list[Hit]:
    index = SearchIndex.from_store(store)
    search = partial(index.search, where=_in_subsets(store, args.subset), min_score=args.min_score)
    if args.item is None:
        return search(_encoded(args, index.space), args.k)[0]
    key = _find_item(store, args.item)
    hits = search(item_vector(store, key)[None], args.k + 1)[0]
    return [hit for hit in hits if hit.key != key][: args.k]


def _in_subsets(store: StoreReader, names: Sequence[str] | None) -> Callable[[ItemKey], bool] | None:
    """The filter that ``--subset`` asks for."""
    if names is None:
        return None
    unknown = sorted(set(names) - set(store.subsets))
    if unknown:
        raise OptionError(f"{store.path} has no subset {', '.join(unknown)}; it has {', '.join(store.subsets)}")
    return lambda key: key.subset in names


def _encoded(args: argparse.Namespace, space: VectorSpace) -> FloatArray:
    """The query's vector, (1, D)."""
    encoder = load_model(args.model or space, device=args.device, precision=args.precision)
    _require_comparable(space, encoder, named=args.model is not None)
    if args.image is None:
        return embed_texts([args.text], encoder)
    vectors, errors = embed([args.image], encoder, cache="off")
    for error in errors.values():
        raise error
    return vectors


def _require_comparable(space: VectorSpace, encoder: Encoder, *, named: bool) -> None:
    """Refuse another space's model; of vectors computed elsewhere, only the user can know the model."""
    if named and space.fingerprint.startswith("name:") and space.dimension == encoder.space.dimension:
        _log.warning("the vectors of %s were computed elsewhere; taken for those of %s", space, encoder.space)
    else:
        require_same_space(space, encoder.space)


def _find_item(store: StoreReader, text: str) -> ItemKey:
    """The item that ``ID`` or ``ID@SUBSET`` names; an id may have an @ in it."""
    before, at, after = text.rpartition("@")
    keys = [ItemKey(before, after)] if at else []
    keys += [ItemKey(text, subset) for subset in store.subsets]
    found = [key for key in keys if store.find(key) is not None]
    if len(found) != 1:
        subsets = ", ".join(f"--item '{key}'" for key in found) or "check its id and subset"
        raise OptionError(f"{len(found)} items of {store.path} are called '{text}': {subsets}")
    return found[0]
