"""The plan of `finalize`, for people."""

from collections.abc import Sequence

from cifar_tune.storage.records import FINISHED, StudyRecord
from cifar_tune.study.race import Race, RaceRecord
from cifar_tune.wording import counted, estimated_duration


def plan_lines(
    record: StudyRecord, race: Race | str, networks: int, images: int, begun: RaceRecord | None = None
) -> list[str]:
    """What `finalize` would train, and about how long that takes, one training at a time.

    Args:
        record: the study.
        race: what is raced; or why nothing is.
        networks: trained on all images afterwards.
        images: that the networks are trained on.
        begun: the race as far as it is; None where it has not begun.
    """
    seconds = {trial.number: trial.seconds for trial in (*record.trials, *record.judged)}
    total, then = 0.0, ""
    if isinstance(race, str):
        lines = [f"{record.name}: {race}"]
        last = record.best.number if record.best is not None else None
    else:
        own = [seconds.get(number, 0.0) for number in race.candidates]
        lines = [
            f"{record.name}: {race.planned} trainings of the best {len(race.candidates)} of {race.of} candidates: "
            f"trial {', '.join(map(str, race.candidates))}",
            *_rungs(record, race, sum(own) / len(own)),
        ]
        last, then = race.candidates[0], "then "
        left = race.planned
        if begun is not None:
            ended = sum(begun.finals.counts.get(state, 0) for state in FINISHED)
            left = max(race.planned - ended, 0)
            words = f"the race has begun: {ended} of {race.planned} trainings are done; {left} are left at most"
            if begun.standing.ranked:
                left, last = 0, race.candidates[begun.standing.ranked[0]]
                words = f"the race is over: trial {last} has won, and no training of it is left"
            lines.append(words)
        total += left * sum(own) / len(own)
    share = images / max(record.data.get("train_images", 0), 1)
    took = networks * seconds.get(-1 if last is None else last, 0.0) * share
    total += took
    lines.append(
        f"{then}{counted(networks, 'network')} on {images:,} images, those of the validation split among them; "
        f"{estimated_duration(took)}"
    )
    of = "what is left takes" if begun is not None else "in all"
    lines.append(f"{of} {estimated_duration(total)}, one at a time, as fast as in the study; nothing was trained")
    return lines


def _rungs(record: StudyRecord, race: Race, seconds: float) -> list[str]:
    """A line for each rung; a training takes this many seconds."""
    has_folds = record.spec.repeats is not None and record.spec.repeats.on_folds
    split_words = "the first fold of the study" if has_folds else "the split of the study"
    lines = []
    if not race.uses_folds:
        lines.append("note: no images are left that chose nothing, so the race validates where the study did")
    begin = 0
    for number, rung in enumerate(race.rungs, start=1):
        blocks = range(begin, begin + rung.blocks)
        begin += rung.blocks
        seeds = _range([race.seeds[block] for block in blocks])
        split = f"fold {', '.join(str(race.folds[block]) for block in blocks)}" if race.uses_folds else split_words
        lines.append(
            f"rung {number}: {counted(rung.candidates, 'configuration')} x {counted(rung.blocks, 'training')}, "
            f"{'seed' if len(blocks) == 1 else 'seeds'} {seeds}, validated on {split}; "
            f"{estimated_duration(rung.trainings * seconds)}"
        )
    return lines


def _range(numbers: Sequence[int]) -> str:
    is_row = list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))
    return f"{numbers[0]} to {numbers[-1]}" if is_row and len(numbers) > 1 else ", ".join(map(str, numbers))
