"""What `transfer_from` is worth: searches of small tasks, with the best configurations of an earlier study and without.

    python -m benchmarks transfer --images data/cifar10-jpeg --tables tables.json

trains the tables of `benchmarks.transfer_tables`, about five minutes of one core, and replays searches on them: the
sampler, the selection of configurations and the search space are those of cifar-tune. A second call with the same file
only replays.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from benchmarks.images import find_images
from benchmarks.measuring import table
from benchmarks.transfer_random import NEAR, PAIRS
from benchmarks.transfer_tables import SEARCH_SPACE, TASKS, Table, read_tables
from benchmarks.trust.made_values import Floats
from cifar_tune.cli.whole_process import quieten_optuna
from cifar_tune.samplers.build import Samplers
from cifar_tune.study.asking import ask, waiting_trials
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.start_from import KnownConfiguration, suggested
from cifar_tune.study_spec.transferring import Source, select
from cifar_tune.study_spec.yaml_reader import Document

UNRELATED = ("unrelated", "CIFAR")
"""An earlier study of which the values say nothing: random configurations in a random order."""
TURNED = ("turned round", "CIFAR")
"""One that is as wrong as can be: the worst configurations of the same task."""

_TRIALS = 30
_EARLY = (5, 10, 20)
_NUMBERS = (1, 3, 5, 10)
_USUAL = 5


@dataclass(frozen=True, slots=True)
class Search:
    """The configurations of a search in the order in which it tried them, as stored, and their accuracies."""

    configs: Sequence[Mapping[str, bool | int | float | str]]
    accuracies: Sequence[float]

    def needed(self, best: float) -> int:
        """Trials until one is near the best of the grid; one more than there were if none was."""
        return next((number for number, each in enumerate(self.accuracies, 1) if each >= best - NEAR), _TRIALS + 1)

    def missed(self, best: float) -> list[float]:
        """How far the best trial so far is from the best of the grid, in points, after each of `_EARLY`."""
        return [100 * (best - max(self.accuracies[:count])) for count in _EARLY]


def study_on(task: str, seed: int) -> StudySpec:
    """The study that searches a task."""
    plain = {
        "name": "made",
        "train": dict(TASKS[task].train),
        "search_space": dict(SEARCH_SPACE),
        "sampler": {"name": "tpe", "seed": seed},
        "budget": {"trials": _TRIALS},
    }
    return read_study(Document(plain), None).spec


def search(spec: StudySpec, values: Table, known: Sequence[KnownConfiguration] = ()) -> Search:
    """Search a table, the known configurations first."""
    study = optuna.create_study(direction="maximize")
    samplers = Samplers(spec.sampler, {})
    for item in known:
        study.enqueue_trial(suggested(spec.space, item))
    configs, accuracies = [], []
    for _ in range(_TRIALS):
        trial, config = ask(study, spec, samplers, next(iter(waiting_trials(study)), None))
        configs.append(config.stored())
        accuracies.append(values.accuracy(config))
        study.tell(trial, accuracies[-1])
    return Search(configs, accuracies)


class Replays:
    """Searches on tables, each made once.

    Args:
        tables: by task.
        seeds: searches of each kind.
    """

    def __init__(self, tables: Mapping[str, Table], seeds: int) -> None:
        self._tables = tables
        self._seeds = seeds
        self._plain: dict[tuple[str, int], Search] = {}
        self._gains: dict[tuple[tuple[str, str], int], tuple[Floats, Floats]] = {}

    def gains(self, pair: tuple[str, str], number: int) -> tuple[Floats, Floats]:
        """Trials needed, and points missed after each of `_EARLY`: without transfer, and with.

        Args:
            pair: of tasks.
            number: configurations that are taken at most.

        Returns:
            Both of shape [seeds, 1 + len(_EARLY)].
        """
        if (pair, number) not in self._gains:
            best = self._tables[pair[1]].best
            each = [self._pair(pair, seed, number) for seed in range(self._seeds)]
            figures = [[[found.needed(best), *found.missed(best)] for found in both] for both in each]
            self._gains[pair, number] = (np.array(figures)[:, 0], np.array(figures)[:, 1])
        return self._gains[pair, number]

    def _pair(self, pair: tuple[str, str], seed: int, number: int) -> tuple[Search, Search]:
        spec = study_on(pair[1], seed)
        taken = select(spec, self._sources(pair, seed), number).taken
        given = search(spec, self._tables[pair[1]], [each.item for each in taken])
        return self._without(pair[1], seed), given

    def _without(self, task: str, seed: int) -> Search:
        if (task, seed) not in self._plain:
            self._plain[task, seed] = search(study_on(task, seed), self._tables[task])
        return self._plain[task, seed]

    def _sources(self, pair: tuple[str, str], seed: int) -> list[Source]:
        """What an earlier study has found, best first; of a made-up one, what its name says."""
        earlier, new = pair
        found = self._without(new if earlier not in TASKS else earlier, seed + 1000)
        order = np.argsort(-np.array(found.accuracies), kind="stable")
        if pair == UNRELATED:
            order = np.random.default_rng(seed).permutation(10)  # TPE draws its first ten at random
        elif pair == TURNED:
            order = order[::-1]
        return [Source(int(each), found.accuracies[each], found.configs[each]) for each in order]


def _figure(differences: Floats) -> str:
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return f"{differences.mean():+.1f} ± {error:.1f}"


def pair_rows(replays: Replays) -> list[tuple[str, ...]]:
    """One row per pair, with the usual number of configurations; then the mean over the real pairs."""
    rows = []
    means = []
    for pair in (*PAIRS, UNRELATED, TURNED):
        without, given = replays.gains(pair, _USUAL)
        differences = given - without
        if pair in PAIRS:
            means.append(differences.mean(axis=0))
        needed = (f"{without[:, 0].mean():.1f}", f"{given[:, 0].mean():.1f}")
        rows.append((pair[0], pair[1], *needed, *map(_figure, differences.T)))
    rows.append((f"mean of the first {len(PAIRS)} pairs", "", "", "", *map(_figure, np.array(means).T)))
    return rows


def number_rows(replays: Replays) -> list[tuple[str, ...]]:
    """One row per number of configurations: the mean difference over the real pairs, and over the turned one."""
    rows = []
    for number in _NUMBERS:
        each = [replays.gains(pair, number) for pair in PAIRS]
        differences = np.array([(given - without).mean(axis=0) for without, given in each])
        without, given = replays.gains(TURNED, number)
        rows.append((str(number), *map(_figure, differences.T), _figure((given - without)[:, 0])))
    return rows


def main(arguments: Sequence[str]) -> None:
    """Train what is missing, replay, and print both tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks transfer", description="What transfer_from is worth.")
    parser.add_argument(
        "--tables", type=Path, default=Path("transfer-tables.json"), help="trained accuracies, kept here"
    )
    parser.add_argument("--images", help="a folder with train/<class>/*, or the official archive; else made-up ones")
    parser.add_argument("--seeds", type=int, default=20, help="searches of each kind")
    given = parser.parse_args(arguments)
    quieten_optuna()
    with tempfile.TemporaryDirectory(prefix="cifar-tune-transfer-") as scratch:
        tables = read_tables(given.tables, find_images(given.images, Path(scratch)))
    after = [f"missed after {count}" for count in _EARLY]
    replays = Replays(tables, given.seeds)
    columns = ("earlier study", "new study", "needed without", "needed with", "difference", *after)
    print(table(columns, pair_rows(replays)), flush=True)
    columns = ("configurations", "needed", *after, "needed where turned round")
    print(f"\n{table(columns, number_rows(replays))}")
