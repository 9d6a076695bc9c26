"""The networks of `finalize`: one configuration with fresh seeds on all images, as trials of the study `NAME/networks`.

No choice is left to make among them. What is said of a training is told by images that it was trained on, so the value
of such a trial shows whether it went well, and nothing about new images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from cifar_tune.data.folds import Part
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError, DamagedError
from cifar_tune.knobs.part import Scalar
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.linked import NETWORKS, linked_name
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.storage.urls import checkpoint_name
from cifar_tune.study.checkpoints import checkpoints_of, sweep
from cifar_tune.study.choosing import Candidate
from cifar_tune.study.events import Interrupted
from cifar_tune.study.finals import Course, linked_spec
from cifar_tune.study.folder_claim import remove_study
from cifar_tune.study.race import race_of, unused_seeds
from cifar_tune.study.run import Plan, run_study
from cifar_tune.study.script import Task, task_of


@dataclass(frozen=True)
class Networks:
    """What is trained.

    Attributes:
        study: whose configuration it is.
        identity: of that study; None where it has none.
        opening: how often the test set had been opened before.
        config: all knobs; the seed is replaced.
        val_losses: of the trial; as many epochs are trained, and the schedule is told these.
        with_unused: train on the images too that the study left out.
        seeds: of the networks.
    """

    study: str
    identity: str | None
    opening: int
    config: Mapping[str, Scalar]
    val_losses: tuple[float, ...]
    with_unused: bool
    seeds: tuple[int, ...]

    def plain(self) -> dict[str, Any]:
        """As `attributes.LINKED` keeps it."""
        return {
            "kind": NETWORKS,
            "study": self.study,
            "identity": self.identity,
            "opening": self.opening,
            "config": dict(self.config),
            "epochs": len(self.val_losses),
            "with_unused": self.with_unused,
            "seeds": list(self.seeds),
        }


class NetworkScript:
    """Plans one training for each seed."""

    keeps_checkpoints = True

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self.told: tuple[float, ...] | None = networks.val_losses

    def next(self, trials: Sequence[FrozenTrial]) -> Task | None:
        """The next seed; None where all have begun."""
        begun = {task.block for trial in trials if (task := task_of(trial)) is not None}
        left = (block for block in range(len(self._networks.seeds)) if block not in begun)
        block = next(left, None)
        return None if block is None else Task(0, block, self._networks.seeds[block])

    def part(self, _task: Task) -> Part:
        """All images."""
        return Part(merged=True, with_unused=self._networks.with_unused)

    def news(self, _trials: Sequence[FrozenTrial]) -> Sequence[str]:
        """Nothing is decided."""
        return ()


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """One network: its seed, and the checkpoint that holds its weights."""

    seed: int
    checkpoint: Path


def plan_networks(record: StudyRecord, chosen: Candidate, count: int, *, with_unused: bool) -> Networks:
    """Plan the networks of a configuration.

    Args:
        record: the study.
        chosen: what is trained.
        count: how many networks.
        with_unused: see `Networks`.
    """
    raced = set(race.seeds if (race := race_of(record)) is not None else ())
    free = (seed for seed in unused_seeds(record) if seed not in raced)
    return Networks(
        study=record.name,
        identity=record.identity,
        opening=len(record.openings),
        config=chosen.config.stored(),
        val_losses=tuple(chosen.val_losses),
        with_unused=with_unused,
        seeds=tuple(next(free) for _ in range(count)),
    )


def train_networks(
    storage: RDBStorage, record: StudyRecord, chosen: Candidate, networks: Networks, data: DataSpec, course: Course
) -> list[TrainedNetwork]:
    """Train them, or go on with those that were begun; returns them in the order of their seeds.

    Networks of an earlier choice make room.

    Args:
        storage: holds the study.
        record: the study; the caller holds its lease.
        chosen: what is trained.
        networks: of this configuration.
        data: the images of the study, where they are now.
        course: where it runs.

    Raises:
        Interrupted: somebody asked to stop; the next call goes on.
        CheckError: one of them could not be trained, or see `run_study`.
        UserError: see `run_study`.
    """
    name = linked_name(record.name, NETWORKS)
    if name in study_names(storage) and not _is_same(storage, name, networks):
        course.watch.observer.note(
            f"note: {name} is begun anew, since it has the networks of an earlier opening or choice"
        )
        with acquire(storage.engine, name).kept():
            remove_study(storage, name, course.url)
    spec = replace(linked_spec(record, data, NETWORKS, len(networks.seeds)), train=dict(chosen.config), search_space={})
    plan = Plan(networks.plain(), NetworkScript(networks))
    outcome = run_study(spec, course.url, course.watch.observer, course.options, course.watch.stop, plan=plan)
    if outcome.ending == "interrupted":
        raise Interrupted
    return list(_trained(load_record(storage, name), networks))


def _is_same(storage: RDBStorage, name: str, networks: Networks) -> bool:
    try:
        found = load_record(storage, name).linked
    except DamagedError:
        return False
    return found is not None and {**found, "seeds": len(found["seeds"])} == {
        **networks.plain(), "seeds": len(networks.seeds),
    }  # fmt: skip


def _trained(record: StudyRecord, networks: Networks) -> Iterator[TrainedNetwork]:
    folder = checkpoints_of(record.study)
    by_block = {trial.task["block"]: trial for trial in record.trials if trial.task is not None}
    for block in range(len(networks.seeds)):
        trial = by_block.get(block)
        if trial is None or trial.state != "COMPLETE":
            reason = "" if trial is None or not trial.reason else f" ({trial.reason.replace('_', ' ')})"
            raise CheckError(
                f"a network could not be trained{reason}, and the test set was not opened; see: cifar-tune status "
                f"{record.name}; begin all of them anew: cifar-tune delete {record.name}"
            )
        yield TrainedNetwork(int(trial.config["seed"]), folder / checkpoint_name(trial.number))


def forget_weights(storage: RDBStorage, study: str) -> None:
    """Delete the checkpoints of networks that were tested. Their trials stay, for people."""
    record = load_record(storage, linked_name(study, NETWORKS))
    sweep(checkpoints_of(record.study), set())
