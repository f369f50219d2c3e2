"""Finding stores, and knowing them by their first bytes."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Any

from datumaro.components.format_detection import FormatDetectionContext
from datumaro.components.importer import Importer

from datumaro_clip.store.manifest import manifest_path


class Confidence(IntEnum):
    """How sure a detection is: more than Datumaro's MEDIUM, 20, which formats have that only look at endings."""

    PICTURES_FOUND = 30
    CERTAIN = 100


class StreamingImporter(Importer):
    """Is asked itself whether a directory is of its format, and reads items one by one."""

    @classmethod
    def get_plugin_cls(cls) -> type[StreamingImporter]:
        """This class: an environment that detects formats asks every importer, lazily known or not."""
        return cls

    @property
    def can_stream(self) -> bool:
        """Items are read one by one."""
        return True


class StoreImporter(StreamingImporter):
    """Finds stores of one kind."""

    @staticmethod
    def describe(kind: str) -> str:
        """What the format's help says."""
        return f"A dataset with its CLIP vectors, in a {kind} store."

    @classmethod
    def detect(cls, context: FormatDetectionContext) -> int:
        """A store is known by the name and first bytes of its manifest."""
        context.require_file(f"{cls.NAME}.json")
        with context.probe_text_file(f"{cls.NAME}.json", f"must begin as the manifest of a {cls.NAME} store") as file:
            if not file.readline().startswith(f'{{"format":"{cls.NAME}",'):
                raise ValueError("another first line")
        return Confidence.CERTAIN

    @classmethod
    def find_sources(cls, path: str) -> list[dict[str, Any]]:
        """The store in a directory; its manifest's path does as well."""
        root = Path(path).parent if Path(path).name == f"{cls.NAME}.json" else Path(path)
        found = manifest_path(root, cls.NAME).is_file()
        return [{"url": str(root), "format": cls.NAME}] if found else []

    @classmethod
    def get_file_extensions(cls) -> list[str]:
        """Of the file that tells the format."""
        return [".json"]
