"""What went wrong in Datumaro, in one line: its own words, the innermost cause, the file at fault and the cure."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

from datumaro.components.dataset_base import DatasetItem
from datumaro.components.errors import DatumaroError

from datumaro_clip.errors import DatumaroClipError, OptionError, with_cure

#: What shows where an error happened in Datumaro's commands.
SHOWN_BY = "--loglevel debug"
#: Where Datumaro's option goes: after the dataset, all is the plugin's.
PLACE_OF_OVERWRITE = "write it before the dataset, as in 'datum transform --overwrite -t NAME …'"


# What Datumaro's merge says of captions, which have none.
_NO_LABEL = re.compile(r"object has no attribute 'label'$")


def in_one_line(error: BaseException, shown_by: str = "-v") -> str:
    """All that an error and its causes say, without repetition, from the outermost to the innermost.

    Datumaro's import errors name the dataset only; the item and the field are in their causes. An error that Datumaro
    did not expect is told with the item and the file that it was about, where there are any.

    Parameters
    ----------
    error : BaseException
    shown_by : str
        The option of the command that shows where an unexpected error happened.
    """
    chain = list(_chain(error))
    said: list[str] = []
    for link in chain:
        text = " ".join(_told(link).split())
        own = " ".join(str(link).split()) or text
        if text and not any(own in earlier for earlier in said):
            said = [earlier for earlier in said if earlier not in text]
            said.append(text)
    if not isinstance(chain[-1], DatumaroError | DatumaroClipError | OSError):
        for names, where in (_item_at_fault(chain), " at item {}"), (_file_at_fault(chain), " in {}"):
            if names and not any(all(name in text for name in names) for text in said):
                said[-1] += where.format(" of subset ".join(names))
    if cure := _cure(chain[-1], shown_by):
        said.append(cure)
    return ": ".join(text.rstrip(".:") for text in said[:-1]) + (": " if said[1:] else "") + said[-1]


class OneLine(logging.Filter):
    """Has Datumaro log an error that it is about to raise with its causes; ``told`` are those that it has logged."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[BaseException] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Word a record that is nothing but an error."""
        if isinstance(record.msg, BaseException):
            self.told.append(record.msg)
            record.msg = in_one_line(record.msg, SHOWN_BY)
        return True


@contextmanager
def told_as_option_errors(spec: str | None) -> Iterator[None]:
    """Turn what goes wrong in a dataset of Datumaro's into an error that is one sentence.

    Raises
    ------
    OptionError
        Naming the dataset and the cause.
    """
    try:
        yield
    except (DatumaroClipError, OSError):
        raise
    except Exception as exc:
        raise OptionError(f"{spec or 'the dataset'}: {in_one_line(exc)}") from exc


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it comes of; of two errors with one cause, the one that says more about it comes first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        if isinstance(current, DatumaroClipError):
            return  # Its message tells what it comes of.
        context, cause = current.__context__, current.__cause__
        # Datumaro raises from the cause of what it caught, and so leaves out what names the item.
        hides_context = context is not None and context is not cause and context.__cause__ is cause
        wants_context = hides_context or (cause is None and not current.__suppress_context__)
        current = context if wants_context else cause


def _told(error: BaseException) -> str:
    """One error's own words; of those that programs raise for themselves, with what kind they are."""
    if isinstance(error, OSError):
        return with_cure(error)
    if isinstance(error, UnicodeError):
        return f"it is no UTF-8 text ({error})"
    if isinstance(error, DatumaroError | DatumaroClipError) or type(error).__module__.startswith("datumaro"):
        return str(error)
    name = type(error).__name__
    if isinstance(error, AssertionError | NotImplementedError) and error.__traceback__ is not None:
        *_, (frame, _) = walk_tb(error.__traceback__)
        name = f"{name} of {frame.f_code.co_name}"
    return f"{name}: {error}" if str(error) else name


def _cure(error: BaseException, shown_by: str) -> str | None:
    if "pass --overwrite" in str(error):
        return PLACE_OF_OVERWRITE
    if isinstance(error, UnicodeError):
        return "save it as UTF-8"
    if isinstance(error, NotImplementedError):
        return "this format does not take them: choose another with -f, as -f clip_mmap"
    if _NO_LABEL.search(str(error)):
        return "Datumaro joins labelled annotations only: use 'datum-clip merge'"
    if isinstance(error, DatumaroError | DatumaroClipError | OSError):
        return None
    if type(error).__module__.startswith("datumaro"):
        return None
    return f"mend or leave out what it names; {shown_by} shows where it happened"


def _item_at_fault(chain: list[BaseException]) -> tuple[str, ...]:
    """Id and subset of the item that the innermost error's functions held, the innermost first."""
    found = (value for value in _held(chain) if isinstance(value, DatasetItem))
    return next(((str(item.id), str(item.subset)) for item in found), ())


def _file_at_fault(chain: list[BaseException]) -> tuple[str, ...]:
    """The file that they held."""
    return next(((str(value),) for value in _held(chain) if _is_file(value)), ())


def _held(chain: list[BaseException]) -> Iterator[object]:
    """What each function was holding, the innermost error's and the latest first."""
    for error in reversed(chain):
        for values in reversed(list(_locals_of(error.__traceback__))):
            yield from reversed(values)


def _locals_of(traceback: TracebackType | None) -> Iterator[list[object]]:
    """What each function was holding, but for Python's own, which hold its own files."""
    for frame, _ in walk_tb(traceback):
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("datumaro."):
            yield list(frame.f_locals.values())


def _is_file(value: object) -> bool:
    try:
        return isinstance(value, str | Path) and str(value) != "" and Path(value).is_file()
    except (OSError, ValueError):
        return False
