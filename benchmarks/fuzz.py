"""`python -m benchmarks.fuzz [--cases 6000] [--seed 0]`: malformed study files and checkpoints, and their fate.

A study file must be read, or refused with a message; a checkpoint must be gone on from, or given up with a message and
the trial started again, to its right value. Anything else is a finding: another exception, a case that takes longer
than ten seconds, a file that a case has created, a wrong value. Findings are kept in a folder, and the exit code is 1.
"""

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import FrameType

import torch

from benchmarks.fuzz_checkpoints import malformed_checkpoint
from benchmarks.fuzz_studies import malformed_study, texts_of
from cifar_tune.cli.spec_lines import spec_lines
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.executors.job_training import JobTrainer
from cifar_tune.executors.messages import Began, Ended, EpochDone, Job, Notice
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.study_spec.reader import read_study, read_study_file
from cifar_tune.study_spec.yaml_reader import Document

SECONDS = 10.0
"""Of CPU time, so that other work on the machine makes no case look as if it hangs."""


class HangError(BaseException):
    """A case takes too long. No handler of ordinary errors gets hold of it."""


@dataclass
class Findings:
    """What became of the cases: how many ended how, and what should not have happened."""

    outcomes: Counter[str] = field(default_factory=Counter)
    found: list[tuple[str, bytes]] = field(default_factory=list)
    slowest: float = 0.0

    def try_out(self, content: bytes, judge: Callable[[bytes], str], canary: Path) -> None:
        """Judge one case; whatever it raises, and whatever it creates, is a finding."""
        began = time.process_time()
        try:
            with _limit(SECONDS):
                outcome = judge(content)
        except HangError:
            outcome = "HANG"
            self.found.append((f"took more than {SECONDS:g} s of CPU time", content))
        except Exception:  # noqa: BLE001 (that is what is looked for)
            outcome = "TRACEBACK"
            self.found.append((traceback.format_exc(), content))
        if canary.exists():
            canary.unlink()
            self.found.append(("what the file says was executed", content))
        if outcome.isupper() and outcome not in ("HANG", "TRACEBACK"):
            self.found.append((outcome, content))
        self.slowest = max(self.slowest, time.process_time() - began)
        self.outcomes[outcome] += 1


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def end(_signal: int, _frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def fuzz_studies(cases: int, seed: int, scratch: Path, studies: Path = Path("studies")) -> Findings:
    """Read malformed study files, and do with those that are right what `check` does without training."""
    draw, findings = random.Random(seed), Findings()  # noqa: S311
    file, canary, texts = scratch / "study.yaml", scratch / "executed", texts_of(studies)

    def judge(content: bytes) -> str:
        file.write_bytes(content)
        try:
            spec = read_study_file(file).spec
        except UserError as error:
            return "refused" if error.problems and all(problem.rule for problem in error.problems) else "NO MESSAGE"
        stored = read_study(Document(spec.plain()), "again", is_stored=True).spec if not spec.plugins else spec
        return "read" if stored == spec and spec_lines(spec) and spec.largest_epochs else "READ DIFFERENTLY"

    for _ in range(cases):
        findings.try_out(malformed_study(draw, texts, canary), judge, canary)
    return findings


def fuzz_checkpoints(cases: int, seed: int, scratch: Path, epochs: int = 3) -> Findings:
    """Let an executor's trainer go on from malformed checkpoints, to the end of a small training."""
    draw, findings = random.Random(seed), Findings()  # noqa: S311
    file, canary = scratch / "trial.pt", scratch / "executed"
    data = DataSpec(name="digits", image_size=8, val_size=100, train_size=64)
    config = complete({"model": "cnn2", "width": 4, "batch_size": 32, "epochs": epochs, "precision": "fp32"})
    undisturbed, _ = _train(config, data, file, epochs=epochs)
    file.unlink()
    _train(config, data, file, epochs=1)
    real = file.read_bytes()
    state = torch.load(BytesIO(real.partition(b"\n")[2]), weights_only=True)

    def judge(content: bytes) -> str:
        file.write_bytes(content)
        values, outcome = _train(config, data, file, epochs=epochs)
        if outcome == "started again":
            return outcome if values == undisturbed else "A WRONG VALUE"
        return outcome

    for _ in range(cases):
        findings.try_out(malformed_checkpoint(draw, real, state, canary), judge, canary)
    return findings


def _train(config: Configuration, data: DataSpec, file: Path, epochs: int) -> tuple[list[float], str]:
    """Train up to so many epochs; returns the losses of all of them, and how it went."""
    done = [0]
    device = torch.device("cpu")
    trainer = JobTrainer(device, "cpu", lambda: done[0] < epochs)
    losses: list[float] = []
    outcome = "went on"
    for report in trainer.run(Job(0, dict(config), data, file)):
        match report:
            case Notice():
                outcome = "started again"
            case Began():
                losses = [result.val_loss for result in report.results]
                done[0] = len(losses)
            case EpochDone():
                losses.append(report.result.val_loss)
                done[0] += 1
            case Ended(outcome="error"):
                raise RuntimeError(report.detail)
            case Ended(outcome="diverged" | "refused" | "out_of_memory" as ended):
                outcome = ended
    return losses, outcome


def main() -> None:
    """Run both, print how many cases ended how, and keep what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz")
    parser.add_argument("--cases", type=int, default=6000, help="two thirds study files, one third checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for what was found")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ.setdefault("CIFAR_TUNE_CACHE", str(Path("storage/cache").absolute()))
    checkpoints = given.cases // 3
    number = 0
    with tempfile.TemporaryDirectory(prefix="cifar-tune-fuzz-") as scratch:
        for name, fuzz, cases in (
            ("study files", fuzz_studies, given.cases - checkpoints),
            ("checkpoints", fuzz_checkpoints, checkpoints),
        ):
            began = time.perf_counter()
            findings = fuzz(cases, given.seed, Path(scratch))
            counts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(findings.outcomes.items()))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(
                f"{cases:,} {name}, seed {given.seed}: {counts}; {len(findings.found)} findings; "
                f"{time.perf_counter() - began:.0f} s, slowest {findings.slowest:.1f} s, peak memory {peak:,} MiB"
            )
            for words, content in findings.found:
                given.keep.mkdir(exist_ok=True)
                number += 1
                (given.keep / f"{number:04d}").write_bytes(content)
                (given.keep / f"{number:04d}.txt").write_text(words)
    sys.exit(1 if number else 0)


if __name__ == "__main__":
    main()
