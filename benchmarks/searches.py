"""Searches on the same space and the same images for the same time: each tells what it has reached, and when."""

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import optuna
from sqlalchemy.engine import make_url

from cifar_tune.cli.whole_process import quieten_optuna
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.knob import stored
from cifar_tune.knobs.part import Value
from cifar_tune.study.events import Observer, StopRequests
from cifar_tune.study.run import run_study
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document
from cifar_tune.training.results import EpochResult

Reached = list[tuple[float, float]]
"""Seconds since the search began, and the validation accuracy of an epoch that ended then."""

_DATALOADER_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Search:
    """What to search, for how long, and by how many processes."""

    plain: Mapping[str, Any]
    seconds: float
    seed: int
    processes: int
    scratch: Path

    @property
    def spec(self) -> StudySpec:
        """The study."""
        return read_study(Document(dict(self.plain)), None).spec


def ours(search: Search, **sections: Any) -> Reached:
    """`cifar-tune run` with some sections of the study replaced."""
    name = f"quality-{time.monotonic_ns()}"
    budget = {"trials": 100_000, "timeout": search.seconds}
    plain = {
        **search.plain,
        "sampler": {"name": "tpe", "seed": search.seed},
        **sections,
        "name": name,
        "budget": budget,
    }
    watching = _Watching()
    url = make_url(f"sqlite:///{search.scratch}/{name}.db")
    options = ExecutorOptions(workers=search.processes)
    run_study(read_study(Document(plain), None).spec, url, watching, options, StopRequests())
    return watching.reached


class _Watching(Observer):
    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.reached: Reached = []

    def epoch(self, number: int, result: EpochResult, value: float) -> None:
        self.reached.append((time.perf_counter() - self.started, result.val_accuracy))


def without_pruning(search: Search) -> Reached:
    """Ours, every trial to its end."""
    return ours(search, pruner={"name": "none"})


def random_search(search: Search) -> Reached:
    """Random search on our trainer."""
    return ours(search, sampler={"name": "random", "seed": search.seed}, pruner={"name": "none"})


def plain_optuna(search: Search) -> Reached:
    """The classic loop in the objective of a plain script, with the sampler and pruner that Optuna has by default."""
    return _in_a_process(_optimize, search)


def ray_tune(search: Search) -> Reached:
    """The classic loop under Ray Tune's ASHA."""
    return _in_a_process(_tune, search)


def ray_is_installed() -> bool:
    """Whether Ray Tune is there, which needs more than the extra `ray`: `pip install 'ray[tune]'`."""
    try:
        importlib.import_module("ray.tune")
    except ImportError:
        return False
    return True


def _in_a_process(target: Callable[[Connection, Search], None], search: Search) -> Reached:
    """Collect what a process sends: validation accuracies as they come."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    started = time.perf_counter()
    process = context.Process(target=target, args=(sender, search))
    process.start()
    sender.close()
    reached: Reached = []
    while (left := search.seconds - (time.perf_counter() - started)) > 0:
        if not receiver.poll(left):
            break
        try:
            reached.append((time.perf_counter() - started, receiver.recv()))
        except EOFError:
            break
    process.terminate()  # in the middle of a trial, as everybody else
    process.join()
    return reached


def _optimize(sender: Connection, search: Search) -> None:
    """The target of a process."""
    from benchmarks.classic_loop import ClassicData, classic_epochs  # noqa: PLC0415 (torch belongs to the process)

    quieten_optuna()
    spec = search.spec
    data = ClassicData(spec.data)

    def objective(trial: optuna.Trial) -> float:
        config = spec.space.configuration(lambda name, dimension: _suggested(trial, name, dimension))
        accuracy = 0.0
        for epoch, accuracy in enumerate(classic_epochs(config, data, _DATALOADER_WORKERS), start=1):
            sender.send(accuracy)
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return accuracy

    sampler = optuna.samplers.TPESampler(seed=search.seed)
    optuna.create_study(direction="maximize", sampler=sampler).optimize(objective, timeout=search.seconds)


def _suggested(trial: optuna.Trial, name: str, dimension: Dimension) -> Value:
    if isinstance(dimension, Choices):
        by_name = {stored(choice): choice for choice in dimension.choices}
        return by_name[cast("str", trial.suggest_categorical(name, list(by_name)))]
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def _tune(sender: Connection, search: Search) -> None:
    """The target of a process: one thread per trial, and as many trials at a time as there are cores."""
    import ray  # noqa: PLC0415 (an extra)
    import torch  # noqa: PLC0415 (it belongs to the process)
    from ray import tune  # noqa: PLC0415
    from ray.tune.schedulers import ASHAScheduler  # noqa: PLC0415

    from benchmarks.classic_loop import ClassicData, classic_epochs  # noqa: PLC0415

    spec = search.spec

    def train(drawn: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        config = _of_plain_values(spec, drawn)
        for accuracy in classic_epochs(config, ClassicData(spec.data), 0):
            tune.report({"val_accuracy": accuracy})

    class Sending(tune.Callback):  # type: ignore[misc]
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any) -> None:
            sender.send(result["val_accuracy"])

    ray.init(num_cpus=search.processes, include_dashboard=False, log_to_driver=False)
    scheduler = ASHAScheduler(metric="val_accuracy", mode="max", max_t=spec.largest_epochs, grace_period=1)
    tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={name: _ray_domain(tune, dimension) for name, dimension in spec.search_space.items()},
        tune_config=tune.TuneConfig(scheduler=scheduler, num_samples=-1, time_budget_s=search.seconds),
        run_config=tune.RunConfig(
            callbacks=[Sending()], storage_path=str(search.scratch / f"ray-{time.monotonic_ns()}"), verbose=0
        ),
    ).fit()


def _ray_domain(tune: Any, dimension: Dimension) -> Any:
    if isinstance(dimension, Choices):
        return tune.choice(list(dimension.choices))
    return (tune.loguniform if dimension.log else tune.uniform)(dimension.low, dimension.high)


def _of_plain_values(spec: StudySpec, drawn: Mapping[str, Any]) -> Configuration:
    """Ray draws every knob; those whose conditions do not hold are left out."""
    return spec.space.configuration(lambda name, _: drawn[name])
