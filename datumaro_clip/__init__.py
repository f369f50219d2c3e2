"""CLIP embeddings, curation and search for every dataset that Datumaro reads."""

from datumaro_clip import _autoload

TYPE_CHECKING = False  # as in typing, without the cost of importing it in every Python process

if TYPE_CHECKING:
    __version__: str
    from datumaro_clip.curate.decisions import Decision, DecisionLog
    from datumaro_clip.curate.item import Item
    from datumaro_clip.embedding import embed, embed_texts
    from datumaro_clip.functions.curation import (
        DuplicateGroup,
        DuplicateGroups,
        align,
        classify,
        clean,
        find_duplicates,
        last_decisions,
        outliers,
        sample,
    )
    from datumaro_clip.functions.opened import Hits, Store, open_store
    from datumaro_clip.host.registration import register
    from datumaro_clip.model.encoder import Encoder
    from datumaro_clip.model.loading import load_model
    from datumaro_clip.search import Hit
    from datumaro_clip.vectors import Embedding, ItemKey, VectorSpace

__all__ = [
    "Decision",
    "DecisionLog",
    "DuplicateGroup",
    "DuplicateGroups",
    "Embedding",
    "Encoder",
    "Hit",
    "Hits",
    "Item",
    "ItemKey",
    "Store",
    "VectorSpace",
    "__version__",
    "align",
    "classify",
    "clean",
    "embed",
    "embed_texts",
    "find_duplicates",
    "last_decisions",
    "load_model",
    "open_store",
    "outliers",
    "register",
    "sample",
]

_autoload.install()

# Modules of names that :mod:`datumaro_clip.functions.curation` does not define. All are imported on first use: the
# start-up hook imports this package in every Python process.
_HOMES = {
    "Decision": "datumaro_clip.curate.decisions",
    "DecisionLog": "datumaro_clip.curate.decisions",
    "Embedding": "datumaro_clip.vectors",
    "Encoder": "datumaro_clip.model.encoder",
    "Hit": "datumaro_clip.search",
    "Hits": "datumaro_clip.functions.opened",
    "Item": "datumaro_clip.curate.item",
    "ItemKey": "datumaro_clip.vectors",
    "Store": "datumaro_clip.functions.opened",
    "VectorSpace": "datumaro_clip.vectors",
    "embed": "datumaro_clip.embedding",
    "embed_texts": "datumaro_clip.embedding",
    "load_model": "datumaro_clip.model.loading",
    "open_store": "datumaro_clip.functions.opened",
    "register": "datumaro_clip.host.registration",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from datumaro_clip.system.machine import library_version

        return library_version("datumaro-clip") or "unknown"
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "datumaro_clip.functions.curation")), name)


def __dir__() -> list[str]:
    return __all__
