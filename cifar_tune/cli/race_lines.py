"""A race of `finalize`, for people: its plan, and what it has decided."""

from collections.abc import Sequence

from cifar_tune.reports.objective import Scale, scale_of
from cifar_tune.storage.linked import FINALS, linked_name
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study.race import Race
from cifar_tune.study.race_result import TIED, UNDECIDED, WITHDRAWN, WORSE, RacedTrial, RaceResult
from cifar_tune.wording import counted, estimated_duration


def plan_lines(record: StudyRecord, race: Race | None, reason: str | None, networks: int) -> list[str]:
    """What `finalize` would train, and about how long that takes, one training at a time.

    Args:
        record: the study.
        race: what is raced; None where nothing is.
        reason: why not.
        networks: trained on all images afterwards.
    """
    seconds = {trial.number: trial.seconds for trial in record.trials}
    lines, total = [], 0.0
    if race is None:
        lines.append(f"{record.name}: {reason}")
        last = record.best.number if record.best is not None else None
    else:
        own = [seconds.get(number, 0.0) for number in race.candidates]
        lines.append(
            f"{record.name}: {race.planned} trainings of the best {len(race.candidates)} of {race.of} candidates: "
            f"trial {', '.join(map(str, race.candidates))}"
        )
        begin = 0
        for number, rung in enumerate(race.rungs, start=1):
            blocks = range(begin, begin + rung.blocks)
            begin += rung.blocks
            seeds = _range([race.seeds[block] for block in blocks])
            split = f"fold {', '.join(str(race.folds[block]) for block in blocks)}" if race.uses_folds else "the split"
            took = rung.trainings * sum(own) / len(own)
            total += took
            lines.append(
                f"rung {number}: {counted(rung.candidates, 'configuration')} x {counted(rung.blocks, 'training')}, "
                f"seed {seeds}, validated on {split}; {estimated_duration(took)}"
            )
        last = race.candidates[0]
    share = 1 + record.data.get("val_images", 0) / max(record.data.get("train_images", 0), 1)
    took = networks * seconds.get(last or 0, 0.0) * share
    total += took
    lines.append(
        f"then {counted(networks, 'network')} on all images that are not test images; {estimated_duration(took)}"
    )
    lines.append(f"in all {estimated_duration(total)}, one at a time, as fast as in the study; nothing was trained")
    return lines


def _range(numbers: Sequence[int]) -> str:
    is_row = list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))
    return f"{numbers[0]} to {numbers[-1]}" if is_row and len(numbers) > 1 else ", ".join(map(str, numbers))


def race_lines(record: StudyRecord, result: RaceResult) -> list[str]:
    """What a race has decided.

    Args:
        record: the study.
        result: of its race.
    """
    scale = scale_of(record.spec.objective.metric, record.spec.vocabulary)
    race, winner = result.record.race, result.winner
    lines = [_winner(result, scale)]
    by_verdict = {verdict: [each for each in result.candidates if each.verdict == verdict] for verdict in _HEADS}
    for verdict, head in _HEADS.items():
        found = [each for each in by_verdict[verdict] if each is not winner]
        if found:
            lines.append(f"  {head}: {'; '.join(_words(each, scale) for each in found)}")
    cheapest = result.cheapest(record.trials)
    if cheapest is winner:
        lines.append("  no tied finalist is cheaper than the winner (multiply-adds of an image)")
    else:
        lines.append(f"  the cheapest of the tied (multiply-adds of an image): {_words(cheapest, scale)}")
    lines.append(f"  {optimism_words(result, scale)}")
    lines.append(f"  all trainings: cifar-tune status {linked_name(race.study, FINALS)}")
    return lines


_HEADS = {
    TIED: "tied, not told from the winner",
    UNDECIDED: "dropped, and not decided",
    WORSE: "worse",
    WITHDRAWN: "withdrawn, since a training failed",
}


def _winner(result: RaceResult, scale: Scale) -> str:
    race, winner, found = result.record.race, result.winner, result.interval
    words = f"winner of the race: trial {winner.trial}"
    if found is None:
        return f"{words}, the only one that was left"
    blocks = race.rungs[-1].blocks
    on = (
        "each on other images than the study chose by"
        if race.uses_folds
        else "on the validation split of the study only"
    )
    return (
        f"{words}, {scale.shown(found.mean)} (95 % interval {scale.shown(found.low)} to {scale.shown(found.high)}), "
        f"the mean of {counted(blocks, 'training')} with fresh seeds, {on}"
    )


def optimism_words(result: RaceResult, scale: Scale) -> str:
    """How much better the study's best trial looked than it is."""
    best = result.candidates[0]
    if result.optimism is None:
        return f"measured optimism of the study: unknown, since its best trial, {best.trial}, was withdrawn"
    direction = "better" if result.optimism >= 0 else "worse"
    return (
        f"measured optimism of the study: its best trial, {best.trial}, had {scale.shown(best.studied)}, which is "
        f"{gap_words(abs(result.optimism), scale)} {direction} than the {scale.shown(best.mean)} of "
        f"{counted(len(best.values), 'fresh training')}"
    )


def _words(each: RacedTrial, scale: Scale) -> str:
    if each.failed is not None:
        return f"trial {each.trial} (trial {each.failed} of the race)"
    worse = "" if each.at_most_worse is None else f", at most {gap_words(each.at_most_worse, scale)} worse"
    return f"trial {each.trial}{worse}"


def gap_words(value: float, scale: Scale) -> str:
    """A difference of two values: `0.31 points`."""
    return f"{100 * value:.2f} points" if scale.is_share else f"{value:.4g}"
