"""A real Ray cluster on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


@contextmanager
def ray_cluster(nodes: int) -> Iterator[Any]:
    """A head that trains nothing, and nodes with room for one trial each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_prestart_worker_first_driver", "0")  # whoever is tested only looks on
        patch.setenv("RAY_worker_niceness", "0")  # on a busy machine those of 15 would hardly get on
        head = {"num_cpus": 0, "include_log_monitor": False, "no_monitor": True, **SMALL}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, **SMALL)
        yield cluster
        cluster.shutdown()
