"""What a process does that carries a study over and is killed at a chosen point."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from optuna.storages import RDBStorage
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url

from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.versions import put_in_place
from cifar_tune.study import evolving
from cifar_tune.study.folder_claim import remove_folder
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import Document

POINTS = ("copying", "attributes", "staged", "between the names", "renamed", "checkpoints removed", "never")


def killed(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    def then_killed(*arguments: Any, **keywords: Any) -> Any:
        function(*arguments, **keywords)
        killed()

    return then_killed


def prepare_to_die(point: str, storage: RDBStorage) -> None:
    match point:
        case "copying":
            copied = iter(range(100))
            create = storage.create_new_trial

            def create_new_trial(*arguments: Any) -> Any:
                return killed() if next(copied) == 2 else create(*arguments)

            patch.object(storage, "create_new_trial", create_new_trial).start()
        case "attributes":
            patch.object(evolving, "_summary", killed).start()
        case "staged":
            patch.object(evolving, "put_in_place", killed).start()
        case "between the names":

            def look(_: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
                if statement.startswith("UPDATE studies SET study_name"):
                    killed()

            event.listen(storage.engine, "after_cursor_execute", look)
        case "renamed":
            patch.object(evolving, "put_in_place", after(put_in_place)).start()
        case "checkpoints removed":
            patch.object(evolving, "remove_folder", after(remove_folder)).start()


def main(point: str, url: str, file: str) -> None:
    storage = open_storage(make_url(url))
    spec = read_study(Document(yaml.safe_load(Path(file).read_text())), None).spec
    lease = acquire(storage.engine, spec.name)
    prepare_to_die(point, storage)
    evolving.evolve_study(storage, spec, prepare(DataSpec(name="digits")), lease, print)
    evolving.finish_evolution(storage, spec.name, storage.engine.url)
    lease.release()
