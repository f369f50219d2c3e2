"""Tells in one line what went wrong in Datumaro: its own words, the innermost cause, the file at fault and the cure."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

from datumaro.components.dataset_base import DatasetItem
from datumaro.components.errors import DatumaroError

from datumaro_clip.errors import DatumaroClipError, OptionError, with_cure

#: The option of Datumaro's commands that shows where an error happened.
SHOWN_BY = "--loglevel debug"
#: Where Datumaro's option ``--overwrite`` goes: what follows the dataset belongs to the plugin.
PLACE_OF_OVERWRITE = "write it before the dataset, as in 'datum transform --overwrite -t NAME …'"

# The error of Datumaro's merge for captions, which have no label.
_NO_LABEL = re.compile(r"object has no attribute 'label'$")


def in_one_line(error: BaseException, shown_by: str = "-v") -> str:
    """Return all that an error and its causes say, without repetition, from the outermost to the innermost.

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
        text = " ".join(_message(link).split())
        own = " ".join(str(link).split()) or text
        if text and not any(own in earlier for earlier in said):
            said = [earlier for earlier in said if earlier not in text]
            said.append(text)
    if not isinstance(chain[-1], DatumaroError | DatumaroClipError | OSError):
        held = list(_held(chain))
        item = next(((str(each.id), str(each.subset)) for each in held if isinstance(each, DatasetItem)), ())
        file = next(((str(each),) for each in held if _is_file(each)), ())
        for names, where in (item, " at item {}"), (file, " in {}"):
            if names and not any(all(name in text for name in names) for text in said):
                said[-1] += where.format(" of subset ".join(names))
    if cure := _cure(chain[-1], shown_by):
        said.append(cure)
    return ": ".join(text.rstrip(".:") for text in said[:-1]) + (": " if said[1:] else "") + said[-1]


class OneLine(logging.Filter):
    """Rewords errors that Datumaro logs before it raises them, with their causes; ``told`` are those it has logged."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[BaseException] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Reword a record that is nothing but an error."""
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
    """Return an error and what caused it; of two errors with one cause, the one that says more about it comes first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        if isinstance(current, DatumaroClipError):
            return  # Its message tells its causes.
        context, cause = current.__context__, current.__cause__
        # Datumaro raises from the cause of what it caught, and so leaves out what names the item.
        hides_context = context is not None and context is not cause and context.__cause__ is cause
        wants_context = hides_context or (cause is None and not current.__suppress_context__)
        current = context if wants_context else cause


def _message(error: BaseException) -> str:
    """Return one error's own message; of a programming error with its class, as such a message may say little."""
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


def _held(chain: list[BaseException]) -> Iterator[object]:
    """Return the local variables of Datumaro's functions: of the innermost error first, and of the latest call.

    Python's own functions are left out: their files are their own.
    """
    for error in reversed(chain):
        for frame, _ in reversed(list(walk_tb(error.__traceback__))):
            if str(frame.f_globals.get("__name__", "")).startswith("datumaro."):
                yield from reversed(list(frame.f_locals.values()))


def _is_file(value: object) -> bool:
    try:
        return isinstance(value, str | Path) and str(value) != "" and Path(value).is_file()
    except (OSError, ValueError):
        return False
