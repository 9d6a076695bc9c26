"""Whether an accuracy is above that of always naming the most frequent class."""

from cifar_tune.reports.objective import scale_of
from cifar_tune.statistics.shares import wilson
from cifar_tune.storage.analyses import Analysis
from cifar_tune.storage.openings import Opening
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study.race_result import RaceResult


def no_better_than_guessing(record: StudyRecord, race: RaceResult | None = None) -> str:
    """A sentence where the result of a study is no better than a guess on the validation images; else empty.

    The result is the mean of the winner where there was a race, else the best trial. It is no better where the lower
    end of Wilson's interval is not above the share of the largest class. Empty too where the objective is no accuracy,
    and where nobody knows how many images that class has.

    Args:
        record: the study.
        race: of `finalize`; None where none is over.
    """
    data = record.data
    images, largest = data.get("val_images"), data.get("val_largest_class_images")
    value = None if record.best is None else record.best.value
    blocks = 1
    if race is not None and race.mean is not None:
        value, blocks = race.mean, race.splits
    is_accuracy = scale_of(record.spec.objective.metric, record.spec.vocabulary).is_accuracy
    if not images or not largest or value is None or not is_accuracy:
        return ""
    return _words(value, images * blocks, largest / images, str(data.get("val_largest_class")), "validation")


def no_better_on_test(opening: Opening) -> str:
    """The same of what came out on the test images; empty where the result or the classes are unknown."""
    if opening.test_accuracy is None or not opening.test_images or opening.analysis is None:
        return ""
    name, largest = _largest(opening.analysis)
    low = opening.new_images[0] if opening.new_images is not None else None
    return _words(opening.test_accuracy, opening.test_images, largest / opening.test_images, name, "test", low)


def _largest(analysis: Analysis) -> tuple[str, int]:
    counts = analysis.confusion.sum(axis=1)
    index = int(counts.argmax())
    return analysis.classes[index], int(counts[index])


def _words(accuracy: float, images: int, share: float, name: str, split: str, low: float | None = None) -> str:
    """`low` is the lower end of the accuracy's interval, where it is not Wilson's."""
    begin = wilson(accuracy, images)[0] if low is None else low
    if begin > share:
        return ""
    return (
        f"No better than guessing: {share * 100:.2f} % of the {split} images are of the class {name}, and whoever "
        f"always names it is right as often. The interval of the accuracy begins at {begin * 100:.2f} %."
    )
