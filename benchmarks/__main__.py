"""`python -m benchmarks [QUESTION ...] [--quick]`, and three that stand apart.

`python -m benchmarks gpu` asks all questions of a GPU; `python -m benchmarks trust` sees whether our statistics hold;
`python -m benchmarks transfer` says what the configurations of an earlier study are worth.
"""

import sys
from collections.abc import Mapping

from benchmarks import (
    barrier,
    coordination,
    ending,
    large,
    limit,
    predictions,
    quality,
    scheduling,
    service,
    startup,
    step,
    transfer,
    trial,
    views,
)
from benchmarks.gpu import proof
from benchmarks.question import Measure, run
from benchmarks.trust import main as trust

QUESTIONS: Mapping[str, Measure] = {
    "trial": trial.measure,
    "limit": limit.measure,
    "coordination": coordination.measure,
    "barrier": barrier.measure,
    "ending": ending.measure,
    "startup": startup.measure,
    "large": large.measure,
    "step": step.measure,
    "predictions": predictions.measure,
    "scheduling": scheduling.measure,
    "service": service.measure,
    "views": views.measure,
    "quality": quality.measure,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["gpu"]:
        sys.exit(proof.main(sys.argv[2:]))
    if sys.argv[1:2] == ["trust"]:
        sys.exit(trust.main(sys.argv[2:]))
    if sys.argv[1:2] == ["transfer"]:
        transfer.main(sys.argv[2:])
        sys.exit(0)
    run(QUESTIONS)
