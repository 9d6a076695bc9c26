"""What `finalize` trains: the best trial of the study, another of its trials, or a configuration from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError, Problem, UserError, all_at_once, enumerate_names, nearest_name
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.storage.means import key_of
from cifar_tune.storage.openings import BEST, CONFIG, RACE, TRIAL, times
from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study_spec.data_section import read_data
from cifar_tune.study_spec.overrides import Override, apply_overrides
from cifar_tune.study_spec.plugin_section import read_plugins
from cifar_tune.study_spec.problems import Problems
from cifar_tune.study_spec.run_config import read_run_config
from cifar_tune.wording import counted

PLACES = ("data.root", "data.download")
"""What `--set` may change: where the images lie. Whether they are the same ones is compared."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody asks `finalize` for.

    Attributes:
        trial: the number of a trial of the study.
        config: a configuration file. Without this and `trial`, the best trial is meant.
        settings: of `--set`.
        study_images: leave out the images that the study left out, by `data.train_size` or `data.val_size`.
        raced: the trial is the winner of a race, and nobody named it.
    """

    trial: int | None = None
    config: Path | None = None
    settings: Sequence[Override] = ()
    study_images: bool = False
    raced: bool = False

    def __post_init__(self) -> None:
        if self.trial is not None and self.config is not None:
            raise UserError(Problem("only one of them can be trained: leave --trial or --config out", "--config"))

    @property
    def how(self) -> str:
        """`best`, `race`, `trial` or `config`."""
        if self.config is not None:
            return CONFIG
        if self.raced:
            return RACE
        return BEST if self.trial is None else TRIAL

    @property
    def options(self) -> str:
        """As they stand on the command line, with a space before each."""
        options = f" --trial {self.trial}" if self.trial is not None and not self.raced else ""
        return options + (f" --config {quote(str(self.config))}" if self.config is not None else "")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is trained on all images.

    Attributes:
        how: `best`, `race`, `trial` or `config`, as the opening records it.
        config: every knob, with the plugins that it needs.
        trial: whose configuration it is; None for a file.
        source: the file.
        val_losses: one for each epoch that is trained; those of the trial, which schedule plateau is told again.
    """

    how: str
    config: Configuration
    trial: TrialRecord | None
    source: str | None
    val_losses: Sequence[float]

    @property
    def words(self) -> str:
        """`trial 7`, or `the configuration small.yaml`."""
        return f"the configuration {self.source}" if self.trial is None else f"trial {self.trial.number}"


def require_current(record: StudyRecord) -> None:
    """See that the study has not evolved into another one, whose record would not show that its test set was opened.

    Raises:
        UserError: it has.
    """
    newer = record.succeeded_by
    if newer is None:
        return
    report = quote(f"reports/{record.name}/best.yaml")
    rule = (
        f"is kept as it was before {newer} evolved, and its test set is not opened any more: the record of {newer} "
        f"would not show it. Test the best trial of {newer} with `cifar-tune finalize {quote(newer)}`, or that of "
        f"{record.name} with `cifar-tune export {quote(record.name)}` and then `cifar-tune finalize {quote(newer)} "
        f"--config {report}`"
    )
    raise UserError(Problem(rule, record.name))


def require_new(record: StudyRecord, choice: Choice) -> None:
    """See that the opening that there is was for this choice, where the test split is not to be opened again.

    Raises:
        CheckError: another configuration was tested than the one that is asked for, or as `trial_of`.
        UserError: as `trial_of`, and as `require_current`.
    """
    if choice.how in (BEST, RACE) or not record.openings:
        return
    if choice.trial is not None:
        trial_of(record, choice)  # one that cannot be tested at all is not advised to be tested once more
    last = record.openings[-1]
    if choice.trial is not None and last.study is None and last.trial == choice.trial:
        return
    require_current(record)
    asked = f"trial {choice.trial}" if choice.trial is not None else f"the configuration {choice.config}"
    raise CheckError(
        f"the test set of {record.name} was opened {times(record.openings)}, last for {last.subject}; to open it once "
        f"more for {asked}, on the record: cifar-tune finalize {quote(record.name)}{choice.options} --again"
    )


def trial_of(record: StudyRecord, choice: Choice) -> TrialRecord:
    """The trial that is meant, where no file is.

    Raises:
        CheckError: the study has no best trial, or the one that is named did not train all its epochs here.
        UserError: the study has no trial of that number.
    """
    if choice.trial is None:
        if record.best is None:
            raise CheckError(
                f"{record.without_best_words}, so there is no best configuration to train; "
                f"see: cifar-tune status {record.name}"
            )
        return _with_epochs(record, record.best)
    # with `repeats`, one that stands for its configuration has the mean of its trainings
    found = next((trial for trial in (*record.judged, *record.trials) if trial.number == choice.trial), None)
    if found is None:
        there = f"it has {counted(len(record.trials), 'trial')}"
        if record.trials:
            there += f", from {record.trials[0].number} to {record.trials[-1].number}"
        raise UserError(Problem(f"the study {record.name!r} has no such trial; {there}", "--trial", choice.trial))
    if found.state != "COMPLETE":
        raise CheckError(
            f"trial {choice.trial} of {record.name} is {found.state} after {counted(found.epochs, 'epoch')}, and only "
            f"a trial that completed can be trained again as it was; write its configuration into a file, and give "
            f"that with --config"
        )
    if not found.ended_here:
        raise CheckError(
            f"trial {choice.trial} of {record.name} was completed by another program, so nobody knows what it trained"
        )
    return _with_epochs(record, found)


def about_training(record: StudyRecord, trial: TrialRecord) -> str | None:
    """A sentence where a trial is one training of a configuration that `repeats` trains several times; else None."""
    if record.spec.repeats is None or trial.repeated is not None:
        return None
    key, trainings = key_of(trial.params), record.spec.trainings
    whole = next((each for each in record.judged if key_of(each.params) == key), None)
    if whole is not None and whole.repeated is not None and whole.value is not None:
        numbers = ", ".join(map(str, whole.repeated.numbers))
        return (
            f"trial {trial.number} is one training of its configuration; the value of that is the mean of trials "
            f"{numbers}, {whole.value:.6g}"
        )
    completed = sum(each.state == "COMPLETE" for each in record.trials if key_of(each.params) == key)
    have = "has" if completed == 1 else "have"
    return (
        f"only {completed} of the {trainings} trainings of the configuration of trial {trial.number} {have} completed, "
        f"so its value is less sure than that of other configurations, and it is not ranked"
    )


def _with_epochs(record: StudyRecord, trial: TrialRecord) -> TrialRecord:
    if len(trial.history.get("val_loss", ())) != trial.epochs:
        raise CheckError(
            f"the figures of the epochs of trial {trial.number} are not stored with {record.name}, so nobody knows how "
            f"long it trained; write its configuration into a file, and give that with --config"
        )
    return trial


def candidate(record: StudyRecord, choice: Choice, data: DataSpec) -> Candidate:
    """What is to be trained.

    Plugins are read from the files that the study was run with, since the storage only describes them.

    Args:
        record: the study.
        choice: what is asked for.
        data: its images, as `study_data` reads them.

    Raises:
        CheckError: as `trial_of`.
        UserError: there is no such trial, the configuration file is wrong or of other data, or plugins cannot be used.
    """
    if choice.config is not None:
        return _from_file(record, choice.config, data)
    trial = trial_of(record, choice)
    files = [plugin.reference for plugin in record.spec.plugins]
    config = trial.configuration(read_plugins({"plugins": files}, f"the stored study {record.name!r}", {}, ()))
    return Candidate(choice.how, config, trial, None, trial.history["val_loss"])


def _from_file(record: StudyRecord, path: Path, data: DataSpec) -> Candidate:
    run = read_run_config(path)
    for field in DataSpec.model_fields:
        if field == "fold":  # with `repeats`, best.yaml has that of its training; test images are in none of them
            continue
        given, wanted = getattr(run.data, field), getattr(record.spec.data, field)
        if given not in (wanted, getattr(data, field)):
            shown = "left out" if wanted is None else repr(wanted)
            rule = f"must be as in the study {record.name!r}, {shown}: the test set is that of its data"
            run.problems.add(("data", field), rule, given)
    advice = "or give a trial that has this configuration, with --trial"
    if run.train.integer("patience"):
        rule = f"needs validation images, and finalize trains on all images: take patience out, {advice}"
        run.problems.add(("train", "patience"), rule, run.train["patience"])
    if run.train.text("schedule") == "plateau":
        rule = f"needs validation images, and finalize trains on all images: take another schedule, {advice}"
        run.problems.add(("train", "schedule"), rule, "plateau")
    run.problems.raise_if_any()
    no_validation = [0.0] * run.train.integer("epochs")  # no other schedule looks at it
    return Candidate(CONFIG, run.train, None, str(path), no_validation)


def study_data(record: StudyRecord, settings: Sequence[Override]) -> DataSpec:
    """The images of the study, where `--set` says that they lie.

    Raises:
        UserError: with each setting that would change the configuration, the images or nothing.
    """
    with all_at_once() as stage:
        for setting in settings:
            with stage:
                _require_place(record, setting)
    stored = record.spec.data.model_dump(mode="json")
    return data_elsewhere(stored, settings, record.spec.vocabulary, f"the stored study {record.name!r}")


def data_elsewhere(
    stored: Mapping[str, Any], settings: Sequence[Override], vocabulary: Vocabulary, source: str
) -> DataSpec:
    """The images of a description that was stored, where `--set` says that they lie.

    Args:
        stored: the section `data`; None stands for what was left out.
        settings: of PLACES alone.
        vocabulary: of its study.
        source: what was read, for messages.

    Raises:
        UserError: it cannot be used.
    """
    plain = {key: value for key, value in stored.items() if value is not None}
    raw, overridden = apply_overrides({"data": plain}, settings, vocabulary)
    problems = Problems(source, overridden=overridden)
    data = read_data(raw["data"], vocabulary, problems)
    problems.raise_if_any()
    return data


def _require_place(record: StudyRecord, setting: Override) -> None:
    key = setting.key.removeprefix("train.")
    nearest = None
    if setting.key in PLACES:
        return
    if key in record.spec.vocabulary.knobs:
        rule = (
            "is a knob, and would make another configuration than the one that the study chose; write that one into a "
            "file, and give it with --config"
        )
    elif key in ("device", "devices"):
        rule = "has an option of its own: --device"
    elif key in ("data.train_size", "data.val_size"):
        rule = "finalize trains on all images that are not test images; --study-images takes only those of the study"
    elif key.removeprefix("data.") in DataSpec.model_fields:
        rule = "would change the images for which the study chose its configuration"
        nearest = f"data.{key}" if f"data.{key}" in PLACES else None
    else:
        rule = f"changes nothing that finalize does; what can be set is {enumerate_names(PLACES, 'and')}"
        nearest = nearest_name(key, PLACES)
    raise UserError(Problem(rule, f"--set {setting.key}", setting.value, nearest=nearest))
