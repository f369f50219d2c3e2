"""Runs the ``datum`` command so that a user's mistake is answered with a sentence, not a traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from datumaro.components.errors import DatumaroError

from datumaro_clip.errors import DatumaroClipError

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
        return main(args)
    except KeyboardInterrupt:
        logging.error("Interrupted. Vectors computed so far are in the cache: the same command goes on from there.")
        return INTERRUPTED
    except (DatumaroError, DatumaroClipError, OSError) as exc:
        logging.debug("The error in full:", exc_info=exc)
        return FAILURE
