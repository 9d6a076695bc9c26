"""`cifar-tune export`."""

from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.cli import options


def export(
    study: options.Study,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Folder; else reports/STUDY/.", show_default=False)
    ] = None,
    storage: options.Storage = None,
) -> None:
    """Write report.html (one page with everything), best.yaml, a summary, the trials as a table, and plots."""
    from cifar_tune.cli.find_study import find_record
    from cifar_tune.reports.export import export as write_report
    from cifar_tune.storage.urls import storage_url

    record = find_record(study, storage_url(storage))
    for file in write_report(record, output or Path("reports") / record.name):
        typer.echo(str(file))
