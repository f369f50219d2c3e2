"""A connection to a Ray cluster; the only module that imports Ray, which the others of this room have from here.

Ray reports to its makers how it is used, unless it is told not to: it is told so here, if the user has said nothing.
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
    from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, RayActorError, RayTaskError
except ImportError as exc:
    raise MissingDependencyError("ray", "ray", "running on a Ray cluster") from exc

__all__ = ["LOST", "RayTaskError", "cluster", "in_one_line", "ray"]

#: What is raised where a worker is lost, with its node or without.
LOST = (RayActorError, ActorDiedError, ActorUnavailableError, NodeDiedError)
# Ray asks for a token where one lies in the home of whoever started it, and gives it only to those who say so.
_TOKEN = "" if "RAY_AUTH_MODE" in os.environ else ", or set RAY_AUTH_MODE=token if it wants one"

log = logging.getLogger(__name__)


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connected to a Ray cluster for a block.

    Parameters
    ----------
    address : str or None
        As ``ray.init`` takes it: ``auto``, ``HOST:PORT``. None: what ``RAY_ADDRESS`` names, else a cluster of this
        machine's own for the block.

    Raises
    ------
    ClusterError
        If there is no cluster at the address.
    """
    where = address or os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            # Else Ray would look for one that was started here before, and wait for it where it has ended.
            address=where or "local",
            include_dashboard=None if where else False,
            logging_level=logging.WARNING,
            # What becomes of each shard is told by us; what workers log is in Ray's own files.
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
    """The first line of what Ray says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
