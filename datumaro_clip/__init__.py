"""CLIP embeddings, curation and search for every dataset that Datumaro reads."""

from datumaro_clip import _autoload

TYPE_CHECKING = False  # as in typing, without the cost of importing it in every Python process

if TYPE_CHECKING:
    __version__: str
    from datumaro_clip.curate.decisions import Decision, DecisionLog
    from datumaro_clip.curate.item import Item
    from datumaro_clip.embedding import embed, embed_texts
    from datumaro_clip.functions import align, classify, clean, find_duplicates, outliers, sample
    from datumaro_clip.host.registration import register
    from datumaro_clip.model.encoder import Encoder
    from datumaro_clip.model.loading import load_model
    from datumaro_clip.store import open_store
    from datumaro_clip.vectors import Embedding, VectorSpace

__all__ = [
    "Decision",
    "DecisionLog",
    "Embedding",
    "Encoder",
    "Item",
    "VectorSpace",
    "__version__",
    "align",
    "classify",
    "clean",
    "embed",
    "embed_texts",
    "find_duplicates",
    "load_model",
    "open_store",
    "outliers",
    "register",
    "sample",
]

_autoload.install()

# Imported on first use: the start-up hook imports this package in every Python process.
_HOMES = {
    **dict.fromkeys(("align", "classify", "clean", "find_duplicates", "outliers", "sample"), "datumaro_clip.functions"),
    "Decision": "datumaro_clip.curate.decisions",
    "DecisionLog": "datumaro_clip.curate.decisions",
    "Embedding": "datumaro_clip.vectors",
    "Encoder": "datumaro_clip.model.encoder",
    "Item": "datumaro_clip.curate.item",
    "VectorSpace": "datumaro_clip.vectors",
    "embed": "datumaro_clip.embedding",
    "embed_texts": "datumaro_clip.embedding",
    "load_model": "datumaro_clip.model.loading",
    "open_store": "datumaro_clip.store",
    "register": "datumaro_clip.host.registration",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from datumaro_clip.system.versions import library_version

        return library_version("datumaro-clip") or "unknown"
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
