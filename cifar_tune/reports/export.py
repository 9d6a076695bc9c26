"""Writes the report of a study: one page, tables, pictures, and its best configuration."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from cifar_tune.errors import Problem, UserError
from cifar_tune.files import Content, replace_files
from cifar_tune.plotting import style
from cifar_tune.reports.best_config import BEST_FILE, best_yaml
from cifar_tune.reports.epochs_csv import epochs_csv
from cifar_tune.reports.front import FRONT_FOLDER, former_front, front_texts, make_front_folder
from cifar_tune.reports.page.page import report_html
from cifar_tune.reports.pictures import PARETO, PICTURES, RACE, TEST_SET, Picture, pictures_of
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_json import SUMMARY_FILE, summary_json
from cifar_tune.reports.summary_markdown import summary_markdown
from cifar_tune.reports.trials_csv import trials_csv
from cifar_tune.storage.records import StudyRecord
from cifar_tune.storage.urls import is_folder_name

_SUMMARY = "summary.md"
_TEXTS: Mapping[str, Callable[[Report, Path], str]] = {
    SUMMARY_FILE: lambda report, _: summary_json(report),
    "trials.csv": lambda report, _: trials_csv(report),
    "epochs.csv": lambda report, _: epochs_csv(report),
    "report.html": report_html,
}
"""The texts that are always there and need no pictures."""


def report_folder(study: str) -> Path:
    """The folder of a study's reports, unless one says otherwise.

    Raises:
        UserError: if another program gave the study a name that leads out of `reports/`.
    """
    if not is_folder_name(study):
        raise UserError(Problem(f"the name of the study {study!r} is none for a folder; name one with --output"))
    return Path("reports") / study


FORMATS = ("svg", "pdf")
"""What pictures can be written as, beside PNG."""


def export(record: StudyRecord, folder: Path, formats: Collection[str] = ()) -> list[Path]:
    """Write the report of a study and return its files. Each picture is a PNG file, and one in each of `formats` too.

    The folder is made if need be; files of an earlier report are replaced, all of them or, after an error, none. Every
    picture is always there: where there is nothing to see, it holds the sentence that says why. `best.yaml` is there
    only if a trial completed and kept all constraints: it is the winner of the race of `finalize`, else the best
    trial, and of several objectives the best in the first one. `front/` holds all on the front.

    Raises:
        UserError: if the folder or a file cannot be written.
    """
    report = Report(record)
    return write_report(lambda: _contents(report, folder, formats)[0], folder)


def write_report(make: Callable[[], Mapping[Path, Content]], folder: Path) -> list[Path]:
    """Write the files of a report, as `export` does, and return them.

    Args:
        make: makes the files by their paths, once the folder is known to be one.
        folder: of the report.

    Raises:
        UserError: if the folder or a file cannot be written.
    """
    missing = [each for each in (folder / FRONT_FOLDER, folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contents = make()
        front = [path for path in contents if path.parent == folder / FRONT_FOLDER]
        if front:
            make_front_folder(folder)
        # of a study of the same name that was deleted, or of this one as it was
        pictures = (*PARETO, *TEST_SET, *RACE, *PICTURES)
        every = (BEST_FILE, *pictures, *(_named(name, kind) for name in pictures for kind in FORMATS))
        former = [folder / name for name in every if folder / name not in contents]
        replace_files(contents, [*former, *former_front(folder, front)])
    except BaseException as error:
        for each in missing:
            with suppress(OSError):  # it was never made, or somebody else has put something into it
                each.rmdir()
        if not isinstance(error, OSError):
            raise
        source = str(error.filename or folder)
        raise UserError(Problem(f"cannot be written: {error.strerror}", source=source)) from error
    return list(contents)


def file_names(report: Report, formats: Collection[str] = ()) -> list[str]:
    """The files that `export` would write, by their path in the folder."""
    folder = Path()
    best = [BEST_FILE] if report.chosen else []
    pictures = [_named(name, kind) for name in pictures_of(report) for kind in ("png", *dict.fromkeys(formats))]
    front = [path.as_posix() for path in front_texts(report, folder)]
    return [*sorted([*_TEXTS, _SUMMARY, *best]), *pictures, *front]


def file_content(report: Report, name: str, folder: Path) -> bytes:
    """One of these files, as it would be written into the folder; nothing is written.

    A picture can be had in each of `FORMATS`.

    Raises:
        KeyError: there is no such file.
    """
    if name in _TEXTS:
        return _TEXTS[name](report, folder).encode()
    if name == _SUMMARY:
        return summary_markdown(report, folder, _pictures(report)[1]).encode()
    if name == BEST_FILE and report.chosen:
        return best_yaml(report.record, report.chosen, folder / BEST_FILE, report.raced).encode()
    front = front_texts(report, folder)
    if folder / name in front:
        return front[folder / name].encode()
    kind = next((each for each in FORMATS if name.endswith(f".{each}")), "png")
    picture = pictures_of(report)[name if kind == "png" else f"{name.removesuffix(kind)}png"]
    with style.applied():
        return _drawn(report, picture, [kind] if kind in FORMATS else ())[0][kind]


def report_files(record: StudyRecord, folder: Path) -> dict[Path, Content]:
    """The files that `export` would write into the folder; nothing is written."""
    return _contents(Report(record), folder)[0]


def _contents(
    report: Report, folder: Path, formats: Collection[str] = ()
) -> tuple[dict[Path, Content], dict[Path, str]]:
    """All files: texts, pictures and the Pareto front. The front's are given a second time, alone."""
    pictures, unseen = _pictures(report, formats)
    texts = {_SUMMARY: summary_markdown(report, folder, unseen)}
    texts |= {name: make(report, folder) for name, make in _TEXTS.items()}
    if report.chosen:
        texts[BEST_FILE] = best_yaml(report.record, report.chosen, folder / BEST_FILE, report.raced)
    front = front_texts(report, folder)
    contents: dict[Path, Content] = {folder / name: texts[name] for name in sorted(texts)}
    contents.update((folder / name, picture) for name, picture in pictures.items())
    contents.update(front)
    return contents, front


def _pictures(report: Report, formats: Collection[str] = ()) -> tuple[dict[str, bytes], dict[str, str]]:
    """All pictures by file name, and the sentences of those that have nothing to show."""
    drawn: dict[str, bytes] = {}
    unseen: dict[str, str] = {}
    with style.applied():
        for name, picture in pictures_of(report).items():
            files, why_unseen = _drawn(report, picture, formats)
            drawn |= {_named(name, kind): content for kind, content in files.items()}
            if why_unseen is not None:
                unseen[name] = why_unseen
    return drawn, unseen


def _named(name: str, kind: str) -> str:
    """The file of a picture in another format."""
    return f"{name.removesuffix('.png')}.{kind}"


def _drawn(report: Report, picture: Picture, formats: Collection[str] = ()) -> tuple[Mapping[str, bytes], str | None]:
    """A picture by format, and the sentence in it where it has nothing else to show."""
    figure = picture.draw(report)
    said = figure if isinstance(figure, str) else None
    shown = style.sentence(figure) if isinstance(figure, str) else figure
    return style.drawn_as(shown, formats, palette=not picture.has_photographs), said
