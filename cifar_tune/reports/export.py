"""Writes the report of a study: one page, tables, pictures, and its best configuration."""

from pathlib import Path

from cifar_tune.errors import Problem, UserError
from cifar_tune.plotting import style
from cifar_tune.reports.best_config import BEST_FILE, best_yaml
from cifar_tune.reports.front import write_front
from cifar_tune.reports.page.page import report_html
from cifar_tune.reports.pictures import PARETO, pictures_of
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_json import SUMMARY_FILE, summary_json
from cifar_tune.reports.summary_markdown import summary_markdown
from cifar_tune.reports.trials_csv import trials_csv
from cifar_tune.storage.records import StudyRecord


def export(record: StudyRecord, folder: Path) -> list[Path]:
    """Write the report of a study and return its files.

    The folder is made if need be; files of an earlier report are overwritten. Every picture is always there: where
    there is nothing to see, it holds the sentence that says why. `best.yaml` is there only if a trial completed and
    kept all constraints; of several objectives it is the best in the first one, and `front/` holds all on the front.

    Raises:
        UserError: if the folder or a file cannot be written.
    """
    report = Report(record)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unseen = _write_pictures(report, folder)
        texts = {
            "summary.md": summary_markdown(report, folder, unseen),
            SUMMARY_FILE: summary_json(report),
            "trials.csv": trials_csv(report),
            "report.html": report_html(report, folder),
        }
        best = folder / BEST_FILE
        if report.best:
            texts[best.name] = best_yaml(record, report.best, best)
        else:
            best.unlink(missing_ok=True)  # of a study of the same name that was deleted
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")
        front = write_front(report, folder)
    except OSError as error:
        source = str(error.filename or folder)
        raise UserError(Problem(f"cannot be written: {error.strerror}", source=source)) from error
    return [*(folder / name for name in (*sorted(texts), *pictures_of(report))), *front]


def _write_pictures(report: Report, folder: Path) -> dict[str, str]:
    """Write all pictures; return the sentences of those that have nothing to show."""
    unseen: dict[str, str] = {}
    pictures = pictures_of(report)
    for name in PARETO.keys() - pictures.keys():
        (folder / name).unlink(missing_ok=True)  # of a study of the same name that was deleted
    with style.applied():
        for name, picture in pictures.items():
            drawn = picture.draw(report)
            if isinstance(drawn, str):
                unseen[name] = drawn
                drawn = style.sentence(drawn)
            style.save(drawn, folder / name)
    return unseen
