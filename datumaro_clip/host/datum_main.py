"""Runs the ``datum`` command, and answers whatever goes wrong with one sentence instead of a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from datumaro_clip.host.causes import PLACE_OF_OVERWRITE, SHOWN_BY, OneLine, in_one_line
from datumaro_clip.host.losses import telling_losses
from datumaro_clip.host.sources import watched_imports
from datumaro_clip.host.unfinished import take_up
from datumaro_clip.system.notices import noticed_last
from datumaro_clip.system.terminal import printable_log

FAILURE = 1
INTERRUPTED = 130


def run(main: Callable[[Sequence[str] | None], int], args: Sequence[str] | None) -> int:
    """Run Datumaro's own ``main``; errors that it logs before it raises them are not told twice.

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
    arguments = list(sys.argv[1:] if args is None else args)
    is_ours = any(word == "export" or "clip_" in word for word in arguments)
    takes_format_early = arguments[:1] in (["transform"], ["filter"])
    logged = OneLine()
    logging.root.addFilter(logged)
    with printable_log():
        try:
            if is_ours:
                # Here, since it loads what Datumaro's own commands do without.
                from datumaro_clip.host.configured import use_configured_model

                use_configured_model()
            with noticed_last(), telling_losses(" before the dataset" if takes_format_early else ""):
                if not is_ours:
                    return main(args)
                with watched_imports():
                    return take_up(arguments, main)
        except KeyboardInterrupt:
            kept = " Vectors computed so far are in the cache: the same command goes on from there." if is_ours else ""
            logging.error("Interrupted.%s", kept)
            return INTERRUPTED
        except SystemExit as exc:
            # argparse has shown the usage of the plugin, which does not know the option.
            if exc.code and arguments[:1] == ["transform"] and "--overwrite" in arguments:
                logging.error("If --overwrite is about the output directory: %s", PLACE_OF_OVERWRITE)
            raise
        except Exception as exc:
            if not any(told is exc for told in logged.told):
                logging.error("%s", in_one_line(exc, SHOWN_BY))
            logging.debug("The error in full:", exc_info=exc)
            return FAILURE
        finally:
            logging.root.removeFilter(logged)
