"""Tells what the machines of a Ray cluster have: `python -m cifar_tune.service.cluster_nodes`.

The server starts this beside itself, so that it need not be a part of the cluster: connecting takes a hundred megabytes
and threads of Ray, and a process whose cluster is lost is ended by Ray. Each line on stdout is a list of the machines
that are alive, with their names and resources, as JSON; there is one at least each few seconds. The process ends when
its stdin does.
"""

import argparse
import json
import select
import sys

from cifar_tune.errors import CifarTuneError
from cifar_tune.streams import guard_streams, say

LOOK_SECONDS = 2.0


def main() -> None:
    """Print machines until the server is gone; never returns."""
    guard_streams()
    parser = argparse.ArgumentParser(prog="python -m cifar_tune.service.cluster_nodes")
    parser.add_argument("--address", help="of the cluster, as for `cifar-tune run`")
    given = parser.parse_args()

    import ray  # noqa: PLC0415 (slow to import, and an extra)

    from cifar_tune.executors.ray_engine import connected  # noqa: PLC0415 (likewise)

    try:
        with connected(given.address):
            while not select.select([sys.stdin], [], [], 0.0)[0]:
                alive = [node for node in ray.nodes() if node["Alive"]]
                say(json.dumps([[node["NodeManagerHostname"], node["Resources"]] for node in alive]))
                select.select([sys.stdin], [], [], LOOK_SECONDS)
    except CifarTuneError as error:
        say(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
