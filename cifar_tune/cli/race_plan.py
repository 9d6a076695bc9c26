"""The plan of `finalize`, for people."""

from collections.abc import Sequence

from cifar_tune.storage.records import StudyRecord
from cifar_tune.study.race import Race
from cifar_tune.wording import counted, estimated_duration


def plan_lines(
    record: StudyRecord, race: Race | None, reason: str | None, networks: int, done: int | None = None
) -> list[str]:
    """What `finalize` would train, and about how long that takes, one training at a time.

    Args:
        record: the study.
        race: what is raced; None where nothing is.
        reason: why not.
        networks: trained on all images afterwards.
        done: trainings of the race that have ended; None where it has not begun.
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
        if done is not None:
            lines.append(f"the race has begun: {done} of {race.planned} trainings are done; the plan shows all of them")
        has_folds = record.spec.repeats is not None and record.spec.repeats.on_folds
        split_words = "the first fold of the study" if has_folds else "the split of the study"
        if not race.uses_folds:
            lines.append("note: no images are left that chose nothing, so the race validates where the study did")
        begin = 0
        for number, rung in enumerate(race.rungs, start=1):
            blocks = range(begin, begin + rung.blocks)
            begin += rung.blocks
            seeds = _range([race.seeds[block] for block in blocks])
            split = f"fold {', '.join(str(race.folds[block]) for block in blocks)}" if race.uses_folds else split_words
            took = rung.trainings * sum(own) / len(own)
            total += took
            lines.append(
                f"rung {number}: {counted(rung.candidates, 'configuration')} x {counted(rung.blocks, 'training')}, "
                f"{'seed' if len(blocks) == 1 else 'seeds'} {seeds}, validated on {split}; {estimated_duration(took)}"
            )
        last = race.candidates[0]
    share = 1 + record.data.get("val_images", 0) / max(record.data.get("train_images", 0), 1)
    took = networks * seconds.get(last or 0, 0.0) * share
    total += took
    then = "" if race is None else "then "
    lines.append(
        f"{then}{counted(networks, 'network')} on all images that are not test images; {estimated_duration(took)}"
    )
    lines.append(f"in all {estimated_duration(total)}, one at a time, as fast as in the study; nothing was trained")
    return lines


def _range(numbers: Sequence[int]) -> str:
    is_row = list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))
    return f"{numbers[0]} to {numbers[-1]}" if is_row and len(numbers) > 1 else ", ".join(map(str, numbers))
