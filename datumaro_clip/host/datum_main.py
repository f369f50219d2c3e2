"""Runs the ``datum`` command so that a user's mistake is answered with a sentence, not a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from datumaro.components.errors import DatumaroError

from datumaro_clip.errors import DatumaroClipError, with_cure
from datumaro_clip.host.unfinished import take_up

FAILURE = 1
INTERRUPTED = 130


def run(main: Callable[[Sequence[str] | None], int], args: Sequence[str] | None) -> int:
    """Run Datumaro's own ``main``; it has logged an error by the time it raises it.

    Parameters
    ----------
    main : callable
        Datumaro's ``main``.
    args : sequence of str or None
        Its arguments; the process's own where None.

    Returns
    -------
    int
        Exit status: 0 done, 1 failed, 130 interrupted.
    """
    try:
        return take_up(sys.argv[1:] if args is None else args, main, until_exit=args is None)
    except KeyboardInterrupt:
        logging.error("Interrupted. Vectors computed so far are in the cache: the same command goes on from there.")
        return INTERRUPTED
    except (DatumaroError, DatumaroClipError, OSError) as exc:
        explain(exc)
        logging.debug("The error in full:", exc_info=exc)
        return FAILURE


def is_ours(error: BaseException) -> bool:
    """Whether an error of Datumaro's is, or comes of, one of this package's."""
    return isinstance(error, DatumaroClipError) or isinstance(error.__cause__, DatumaroClipError)


def explain(error: BaseException) -> None:
    """Log what Datumaro has not: the cause, where it is ours, and the cure of an error of the file system's."""
    told = error.__cause__ if isinstance(error.__cause__, DatumaroClipError) else error
    if with_cure(told) != str(error):
        logging.error("%s", with_cure(told))
