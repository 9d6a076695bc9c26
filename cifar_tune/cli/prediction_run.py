"""What `cifar-tune predict` does, once its options are read."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cifar_tune.cli.insight_run import now_and_then
from cifar_tune.data.image_files import fact_sentence
from cifar_tune.data.image_reading import Fact
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.files import replace_file
from cifar_tune.model_files.loading import SavedModel, load_model
from cifar_tune.plugins.execute import plugin_errors_told
from cifar_tune.prediction.forms import Form, Json, Lines, Table
from cifar_tune.prediction.inputs import Given, find_images, known_notes
from cifar_tune.prediction.predicting import Predictions, predict_images, reader_of
from cifar_tune.prediction.score import Score
from cifar_tune.streams import say
from cifar_tune.training.failures import training_errors
from cifar_tune.wording import counted


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """As the command's."""

    top: int
    as_json: bool
    output: Path | None
    device: str
    batch_size: int
    run_plugins: bool


def run_predictions(folder: Path, arguments: Sequence[str], options: PredictionOptions) -> None:
    """Predict the images, and print or write what comes out.

    Raises:
        UserError: the model, the device, an image or the output file cannot be used.
        CheckError: images could not be read, or the memory did not suffice.
    """
    if options.output is not None:
        _require_place(options.output)
    model = load_model(folder, options.device, run_plugins=options.run_plugins)
    given = find_images(arguments, model.classes, _read_stdin)
    _note([*given.notes, *known_notes(given, model.description.data)])
    written: list[str] = []
    form = _form(given, model, options, sys.stdout.write if options.output is None else written.append)
    score, seen = Score(model.classes), _Seen(len(given.images))
    tell = now_and_then()
    device = model.scale.device
    advice = "give a smaller --batch-size, or --device cpu"
    with plugin_errors_told(model.configuration.vocabulary.plugins), training_errors(device, advice):
        for predictions in predict_images(
            model,
            reader_of(model),
            given.images,
            options.batch_size,
            lambda done, total: tell(f"{done:,} of {total:,} images"),
        ):
            form.add(predictions)
            score.add(predictions)
            seen.add(predictions)
            for _, problem in predictions.unreadable:
                say(f"left out: {problem}", err=True)
    form.end(score)
    _note(seen.notes())
    if options.output is not None:
        _write(options.output, "".join(written))
    if score.images and not (options.as_json and options.output is None):
        for line in score.lines():
            say(line, err=options.output is None)
    if seen.unreadable:
        raise CheckError(f"{seen.unreadable:,} of {counted(len(given.images), 'image')} could not be read")


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read()


def _form(given: Given, model: SavedModel, options: PredictionOptions, write: Callable[[str], object]) -> Form:
    if options.as_json:
        return Json(write, model.classes, options.top)
    if given.is_table or options.output is not None:
        return Table(write, model.classes, options.top, given.is_labelled)
    return Lines(write, model.classes, options.top)


class _Seen:
    """Counts what people should know of the images."""

    def __init__(self, total: int) -> None:
        self.unreadable = 0
        self._total = total
        self._facts: Counter[Fact] = Counter()
        self._alone = 0
        self._examples: dict[str, str] = {}

    def add(self, predictions: Predictions) -> None:
        self.unreadable += len(predictions.unreadable)
        self._alone += len(predictions.alone)
        for image in predictions.alone[:1]:
            self._examples.setdefault("alone", image.name)
        for image, facts in zip(predictions.images, predictions.facts, strict=True):
            self._facts.update(facts)
            for fact in facts:
                self._examples.setdefault(fact, image.name)

    def notes(self) -> list[str]:
        notes = [
            fact_sentence(fact, count, self._total, self._examples[fact]) for fact, count in sorted(self._facts.items())
        ]
        if self._alone:
            verb = "has" if self._alone == 1 else "have"
            notes.append(
                f"{self._alone:,} of {counted(self._total, 'image')} {verb} more than 8 bits per channel, and none of "
                f"the training images was of that kind. The usual range of such files was taken, 0 to 65,535 for "
                f"whole numbers (such as {self._examples['alone']})"
            )
        return notes


def _note(notes: Iterable[str]) -> None:
    for note in notes:
        say(f"note: {note}", err=True)


def _require_place(file: Path) -> None:
    """Find out before the work begins, and not after it, that a file cannot be written."""
    if file.is_dir():
        raise UserError(Problem("is a folder: name a file in it", "--output", str(file)))
    if not file.parent.is_dir():
        raise UserError(Problem("there is no such folder", "--output", str(file.parent)))
    if not os.access(file.parent, os.W_OK):
        raise UserError(Problem("the folder cannot be written", "--output", str(file.parent)))


def _write(file: Path, text: str) -> None:
    was_there = file.exists()
    try:
        replace_file(file, text.encode("utf-8", "backslashreplace"))  # file names need not be UTF-8
    except OSError as error:
        raise CheckError(f"{file} cannot be written ({error.strerror})") from error
    if was_there:
        say(f"note: {file} was there already, and was replaced", err=True)
    say(f"file={file}")
