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
    from cifar_tune.reports.comparison_files import write_contents
    from cifar_tune.reports.export import report_folder

    kinds = [each.value for each in formats or ()]
    address = address_of(storage, server)
    if address:
        from cifar_tune.cli.served_studies import served_comparison

        with server_desk(address) as desk:
            name, told, found = served_comparison(study, by, desk, kinds)
    else:
        from cifar_tune.cli.find_study import find_record
        from cifar_tune.reports.comparison_files import contents, markdown
        from cifar_tune.reports.loaded import LoadedStudy
        from cifar_tune.storage.urls import storage_url

        loaded = LoadedStudy(find_record(study, storage_url(storage)))
        comparison = loaded.compare(by, "--by")
        name, told, found = loaded.record.name, markdown(comparison), contents(comparison, kinds)
    typer.echo(told)
    for file in write_contents(by, found, output or report_folder(name)):
        typer.echo(str(file), err=True)
