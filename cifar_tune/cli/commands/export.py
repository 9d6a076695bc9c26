"""`cifar-tune export`."""

from cifar_tune.cli import options
from cifar_tune.streams import say


def export(
    study: options.Study,
    output: options.StudyOutput = None,
    storage: options.Storage = None,
) -> None:
    """Write report.html (one page with everything), best.yaml, a summary, the trials as a table, and plots."""
    from cifar_tune.cli.find_study import find_record
    from cifar_tune.reports.loaded import LoadedStudy
    from cifar_tune.storage.urls import storage_url

    for file in LoadedStudy(find_record(study, storage_url(storage))).export(output):
        say(str(file))
