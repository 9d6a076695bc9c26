"""`cifar-tune compare`."""

from typing import Annotated

import typer

from cifar_tune.cli import options


def compare(
    study: options.Study,
    by: Annotated[str, typer.Option("--by", metavar="KNOB", help="The knob whose levels are compared.")],
    output: options.StudyOutput = None,
    storage: options.Storage = None,
    server: options.Server = None,
    formats: options.PictureFormats = None,
) -> None:
    """Compare the levels of one knob: best, mean with confidence interval, time, parameters.

    Prints the table as Markdown. Also writes it as compare-KNOB.md and .csv, and a picture as .png.
    A server makes the same, and it is written here.
    """
    from cifar_tune.cli.desk import address_of, server_desk

    kinds = [each.value for each in formats or ()]
    address = address_of(storage, server)
    if address:
        from cifar_tune.cli.served_studies import served_comparison

        with server_desk(address) as desk:
            told, files = served_comparison(study, by, desk, output, kinds)
        typer.echo(told)
        for file in files:
            typer.echo(str(file), err=True)
        return
    from cifar_tune.cli.find_study import find_record
    from cifar_tune.reports.comparison_files import markdown, write
    from cifar_tune.reports.export import report_folder
    from cifar_tune.reports.loaded import LoadedStudy
    from cifar_tune.storage.urls import storage_url

    loaded = LoadedStudy(find_record(study, storage_url(storage)))
    comparison = loaded.compare(by, "--by")
    typer.echo(markdown(comparison))
    for file in write(comparison, output or report_folder(loaded.record.name), kinds):
        typer.echo(str(file), err=True)
