"""Where trials run, as the user asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import floor

from cifar_tune.errors import Problem, UserError

ENGINES = ("local", "ray")
RAY_INSTALL = "pip install 'cifar-tune[ray]'"


class ClusterAwayError(UserError):
    """There is no Ray cluster at that address, or it does not answer now."""


def room_of(resources: Mapping[str, float], threads: int, gpus: float) -> int:
    """How many workers of this size a machine of a Ray cluster has room for, whatever else it does.

    Args:
        resources: of the machine, as Ray names them.
        threads: CPUs of a worker.
        gpus: its share of a GPU; 0 for none.
    """
    by_cores = floor(resources.get("CPU", 0) / threads)
    if not gpus:
        return by_cores
    return min(by_cores, floor(resources.get("GPU", 0) / gpus + 1e-9))


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """The options of `cifar-tune run` that say where trials run.

    Attributes:
        engine: `local`, or `ray` for a cluster.
        workers: trials at a time; None for as many as there is room for.
        devices: local: names of devices, given to the workers in turn.
        address: ray: the cluster's, as host:port; None for `RAY_ADDRESS`, else the one that runs on this machine.
        gpus_per_worker: ray: the share of a GPU; None for 1 where the cluster has GPUs.
    """

    engine: str = "local"
    workers: int | None = 1
    devices: tuple[str, ...] = ("auto",)
    address: str | None = None
    gpus_per_worker: float | None = None

    def check(self) -> None:
        """See to it that they fit together.

        Raises:
            UserError: if they do not, or if ray is wanted and not installed.
        """
        if self.engine not in ENGINES:
            raise UserError(Problem(f"must be {' or '.join(ENGINES)}", "--engine", self.engine))
        if self.engine == "local":
            others = {"--address": self.address, "--gpus-per-worker": self.gpus_per_worker}
            problems = [
                Problem("is an option of --engine ray", key, value)
                for key, value in others.items()
                if value is not None
            ]
        else:
            problems = self._problems_of_ray()
        if problems:
            raise UserError(problems)

    def _problems_of_ray(self) -> list[Problem]:
        problems = []
        if self.devices != ("auto",):
            rule = "belongs to --engine local: Ray chooses the devices, see --gpus-per-worker"
            problems.append(Problem(rule, "--devices", ",".join(self.devices)))
        if self.address is not None and "://" in self.address:
            rule = "must be host:port of the cluster: the coordinator runs on one of its machines, not as a Ray client"
            problems.append(Problem(rule, "--address", self.address))
        if find_spec("ray") is None:
            problems.append(Problem(f"needs Ray: {RAY_INSTALL}", "--engine", self.engine))
        return problems
