"""A connection to a Ray cluster; the only module that imports Ray, and the others of this package take it from here.

Ray reports its use to its makers by default. That is switched off here, unless the user has chosen.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from datumaro_clip.errors import ClusterError, MissingDependencyError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
try:
    import ray
    from ray.exceptions import NodeDiedError, RayActorError, RayTaskError
except ImportError as exc:
    raise MissingDependencyError("ray", "ray", "running on a Ray cluster") from exc

__all__ = ["LOST", "RayTaskError", "cluster", "in_one_line", "ray"]

#: Errors of a worker that is lost, with its node or alone.
LOST = (RayActorError, NodeDiedError)
# A cluster asks for a token if its user's home has one; a client sends its own only with RAY_AUTH_MODE=token.
_TOKEN = "" if "RAY_AUTH_MODE" in os.environ else ", or set RAY_AUTH_MODE=token if it wants one"

log = logging.getLogger(__name__)


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connect to a Ray cluster for a block.

    Parameters
    ----------
    address : str or None
        An address for ``ray.init``: ``auto`` or ``HOST:PORT``. None for that in ``RAY_ADDRESS``, else for a new cluster
        on this machine, which ends with the block.

    Raises
    ------
    ClusterError
        If there is no cluster at the address.
    """
    where = address or os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            # Without "local", Ray looks for a cluster started here before, and waits for it even if it has ended.
            address=where or "local",
            include_dashboard=None if where else False,
            logging_level=logging.WARNING,
            # The workers' logs are in Ray's own files.
            log_to_driver=log.isEnabledFor(logging.DEBUG),
        )
    except Exception as exc:  # Ray raises bare exceptions, too.
        cure = f"; check the address{_TOKEN}" if where else "; start one with ray start --head, and name its address"
        raise ClusterError(f"no Ray cluster at {where or 'this machine'}: {in_one_line(exc)}{cure}") from exc
    try:
        yield
    finally:
        ray.shutdown()


def in_one_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
