"""The openings of a test split, for people: what `cifar-tune finalize` prints."""

from shlex import quote

from cifar_tune.reports.guessing import no_better_on_test
from cifar_tune.reports.trust import fall
from cifar_tune.storage.openings import RACE, Opening, elsewhere_words, times
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study.race_result import stored_result
from cifar_tune.wording import result_line


def kept_lines(record: StudyRecord, happened: str = "nothing was trained") -> list[str]:
    """Why nothing was trained, and what can be done about it; of a study whose test split was opened."""
    last = record.openings[-1]
    lines = [f"{record.name}: the test set was opened {times(record.openings)}, last {last.opened}; {happened}"]
    if last.test_accuracy is None:
        lines.append("its result was lost: the process ended between opening and writing it down")
    tested = {opening.trial for opening in record.openings if opening.study is None}
    if record.best is not None and record.best.number not in tested:
        best = f"trial {record.best.number}"
        if record.finished > last.finished_trials:
            lines.append(f"{best} is now the best one, but what was tested is {last.subject}")
        elif last.chosen == RACE:
            lines.append(f"{best} is the best one of the study; what was tested is {last.subject}, which won the race")
        else:
            lines.append(f"{best} is the best one of the study; what was tested is {last.subject}")
    if record.elsewhere:
        lines.append(elsewhere_words(record.elsewhere).rstrip("."))
    if last.model is None:
        lines.append("no model was kept at that time")
    newer = record.succeeded_by
    if newer is None:
        lines.append(f"train and open it once more, on the record: cifar-tune finalize {quote(record.name)} --again")
    else:
        lines.append(f"{record.name} has evolved into {newer}; to test that study: cifar-tune finalize {quote(newer)}")
    return lines


def caution_lines(opening: Opening) -> list[str]:
    """Notes where the result is no better than a guess, and where networks could not be trained; else nothing."""
    return [f"note: {words}" for words in (no_better_on_test(opening), opening.failure_words) if words]


def result_lines(record: StudyRecord) -> list[str]:
    """`key=value` lines of the newest opening, at full precision."""
    last = record.openings[-1]
    figures: dict[str, object] = {
        "chosen": last.chosen,
        **({"trial": last.trial} if last.source is None else {"config": last.source}),
        record.spec.objective.metric: last.value,
        **(
            {"seeds": ",".join(f"{each['seed']:g}" for each in last.networks)} if last.networks else {"seed": last.seed}
        ),
        "epochs": last.epochs,
        "steps": last.steps,
        "train_images": last.train_images,
        "images": last.images,
        "device": last.device,
        "precision": last.precision,
        "test_images": last.test_images,
        **({"test_figures": f"mean of {len(last.networks)} networks"} if last.networks else {}),
        "test_loss": last.test_loss,
        "test_accuracy": last.test_accuracy,
        **last.test_metrics,
        **_of_networks(last),
        "test_openings": len(record.openings),
    }
    race = stored_result(record) if last.chosen == RACE else None
    if race is not None and race.winner.trial == last.trial and race.mean is not None:
        figures[f"race_{record.spec.objective.metric}"] = race.mean
    if (found := fall(record, last, race)) is not None:
        figures["validation_minus_test"] = found[0]
    if last.model is not None:
        figures["model"] = last.model
        if last.networks:
            figures |= {"model_seed": last.seed, "model_test_accuracy": last.networks[0]["test_accuracy"]}
    return [result_line(name, value) for name, value in figures.items()]


def _of_networks(opening: Opening) -> dict[str, object]:
    """How many networks were tested, and both intervals of their mean accuracy; nothing where one was trained alone."""
    if not opening.networks:
        return {}
    ends: dict[str, object] = {"networks": len(opening.networks)}
    if opening.failed_networks:
        ends["networks_failed"] = len(opening.failed_networks)
    for name, interval in (("new_images", opening.new_images), ("same_images", opening.same_images)):
        if interval is not None:
            ends |= {f"test_accuracy_{name}_{end}": value for end, value in zip(("low", "high"), interval, strict=True)}
    return ends
