"""`prior`: what knowing about where the best learning rate lies is worth to TPE, and what it costs to be wrong."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import optuna
from optuna.distributions import FloatDistribution

from benchmarks.trust.checks import Check
from benchmarks.trust.made_values import SEED_SD, Floats
from cifar_tune.samplers.build import build_sampler
from cifar_tune.study_spec.prior import Prior
from cifar_tune.study_spec.settings import SamplerSpec

_LR = (1e-4, 1.0)
_OTHERS = 3
_TRIALS = 30
_EARLY = 10
_CONFIDENCE = 0.7
_KNOWN = 0.1
"""How far the prior lies from the best learning rate: a standard deviation, as a share of the range."""

_WRONG = 0.5
_LOSS = (60.0, 10.0)
"""Points that are lost at the other end of the range of lr, and of each other knob, squared in between."""


def prior(studies: int) -> Iterator[Check]:
    """Pairs of studies with the same seeds, with a prior on lr and without, of four knobs."""
    pairs = max(12, studies // 20)
    for words, shift in (("right", 0.0), ("wrong", _WRONG)):
        draw = np.random.default_rng(23)
        gains = []
        for pair in range(pairs):
            best = draw.uniform(0.2, 0.8, 1 + _OTHERS)
            place = float(np.clip(best[0] + draw.normal(0, _KNOWN) + (shift if best[0] < 0.5 else -shift), 0, 1))
            known = {"lr": Prior(_LR[0] * (_LR[1] / _LR[0]) ** place, _CONFIDENCE)}
            gains.append(np.subtract(_study(pair, best, known), _study(pair, best, {})))
        for count, gained in zip((_EARLY, _TRIALS), np.array(gains).T, strict=True):
            error = float(gained.std(ddof=1)) / math.sqrt(pairs)
            low = 0.0 if (words, count) == ("right", _EARLY) else -0.5 if count == _TRIALS else -math.inf
            yield Check(
                f"gain by a prior on lr that is {words}, after {count} trials, points",
                float(gained.mean()),
                low,
                note=f"{pairs} pairs of studies, standard error {error:.2g}",
            )


def _study(seed: int, best: Floats, priors: Mapping[str, Prior]) -> tuple[float, float]:
    """The true value of what looks best after the first trials, and after all."""
    study = optuna.create_study(direction="maximize")
    noise = np.random.default_rng(seed)
    truths: list[float] = []
    seen: list[float] = []
    for number in range(_TRIALS):
        study.sampler = build_sampler(SamplerSpec("tpe", seed), number, priors)
        trial = study.ask({f"other{each}": FloatDistribution(0, 1) for each in range(_OTHERS)})
        lr = trial.suggest_float("lr", *_LR, log=True)
        places = [math.log(lr / _LR[0]) / math.log(_LR[1] / _LR[0])]
        places += [trial.params[f"other{each}"] for each in range(_OTHERS)]
        squares = (np.array(places) - best) ** 2
        truths.append(-_LOSS[0] * float(squares[0]) - _LOSS[1] * float(squares[1:].sum()))
        seen.append(truths[-1] + float(noise.normal(0, SEED_SD)))
        study.tell(trial, seen[-1])
    early, late = int(np.argmax(seen[:_EARLY])), int(np.argmax(seen))
    return truths[early], truths[late]
