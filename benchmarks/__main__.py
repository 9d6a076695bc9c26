"""`python -m benchmarks [QUESTION ...] [--quick]`."""

from collections.abc import Mapping

from benchmarks import barrier, coordination, limit, quality, startup, trial
from benchmarks.question import Measure, run

QUESTIONS: Mapping[str, Measure] = {
    "trial": trial.measure,
    "limit": limit.measure,
    "coordination": coordination.measure,
    "barrier": barrier.measure,
    "startup": startup.measure,
    "quality": quality.measure,
}

if __name__ == "__main__":
    run(QUESTIONS)
