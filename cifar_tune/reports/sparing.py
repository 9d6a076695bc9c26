"""What became of the trials that the pruner would have stopped, and that were trained on: what the pruner costs."""

from cifar_tune.reports.report import Report


def sparing_words(report: Report) -> str:
    """How good the best of them is among the trials that the pruner let through; empty where there are none."""
    spared = [trial for trial in report.completed if trial.spared_at is not None]
    others = [trial for trial in report.completed if trial.spared_at is None]
    if not spared:
        return ""
    sign = 1 if report.maximizes else -1
    values = [sign * (trial.value or 0.0) for trial in others]
    best = max(spared, key=lambda trial: sign * (trial.value or 0.0))
    words = (
        f"{len(spared):,} of the trials that the pruner would have stopped {'was' if len(spared) == 1 else 'were'} "
        f"trained to the end on purpose; the best of them is trial {best.number} with {report.scale.shown(best.value)}"
    )
    if not others:
        return words
    place = 1 + sum(value > sign * (best.value or 0.0) for value in values)
    verdict = "better than every" if place == 1 else f"in place {place:,} among the {len(others):,}"
    return f"{words}, {verdict} trial{'' if place == 1 else 's'} that it let through"
