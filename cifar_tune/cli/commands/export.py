"""`cifar-tune export`."""

from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def export(
    study: options.Study,
    output: options.StudyOutput = None,
    storage: options.Storage = None,
    server: options.Server = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Also copy the model that finalize has trained, into the folder model.")
    ] = False,
    formats: options.PictureFormats = None,
) -> None:
    """Write report.html (one page with everything), best.yaml, a summary, the trials as a table, and plots.

    With --weights also the trained model, which `finalize` has kept. Trials keep no weights when they are done.
    A server makes the same files, and they are written here.
    """
    from cifar_tune.cli.desk import address_of, server_desk

    kinds = [each.value for each in formats or ()]
    address = address_of(storage, server)
    if address:
        from cifar_tune.cli.served_studies import download_model, download_report

        with server_desk(address) as desk:
            model_files = download_model(study, desk, output) if weights else []  # before anything else is written
            for file in [*download_report(study, desk, output, kinds), *model_files]:
                say(str(file))
        return
    from cifar_tune.cli.find_study import find_record
    from cifar_tune.reports.export import report_folder
    from cifar_tune.reports.loaded import LoadedStudy
    from cifar_tune.reports.weights import export_weights, final_model, whose_model
    from cifar_tune.storage.urls import storage_url

    record = find_record(study, storage_url(storage))
    model = final_model(record) if weights else None  # before anything is written
    if model is not None:
        say(f"note: {whose_model(model[0])}", err=True)
    files = LoadedStudy(record).export(output, kinds)
    if model is not None:
        files += export_weights(*model[1:], report_folder(record.name) if output is None else output)
    for file in files:
        say(str(file))
