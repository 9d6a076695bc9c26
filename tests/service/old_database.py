"""Makes the databases of earlier releases that `test_schema` upgrades.

Run it with the code of a release before its tables change, and commit the file. Of a server, name a new database, and
write it with its own program:

    python -m tests.service.old_database run tests/service/databases/0.1.0.sql
    python -m tests.service.old_database service sqlite:///old.db
    python -m tests.service.old_database service mysql://root@127.0.0.1/old
    sqlite3 old.db .dump >tests/service/databases/0002.sql
    mariadb-dump --compact --skip-extended-insert old >tests/service/databases/0002-mariadb.sql
"""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from sqlalchemy.engine import URL

from cifar_tune.service.owners import Owner
from cifar_tune.service.people import Actor
from cifar_tune.service.schema import upgrade
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.storage import lease
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.storage.wishes import ask_to_park
from tests.processes import call_cifar_tune

STUDY = """\
name: earlier
budget: {trials: 3}
sampler: {name: random, seed: 1}
data: {name: digits, val_size: 100, train_size: 100}
train: {model: cnn3, width: 4, epochs: 2, batch_size: 50}
search_space: {lr: {low: 1e-3, high: 1e-1, log: true}}
"""


def make(target: Path) -> None:
    """Run a small study, and write its database as SQL."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.yaml").write_text(STUDY)
        code, _, err = call_cifar_tune(("run", "study.yaml", "--quiet"), folder, os.environ)
        if code != 0:
            raise SystemExit(err)
        with closing(sqlite3.connect(folder / "storage" / "cifar_tune.db")) as connection:
            target.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")


def make_service(url: URL) -> None:
    """Put into a new database two studies, a token, limits, and a run that is asked to park."""
    lease._host = lambda: "lab1"  # type: ignore[assignment]
    storage = open_storage(url)
    upgrade(storage.engine)
    admin = StorageDesk(storage.engine, url, Actor("root", "admin"))
    admin.create_token("anna", "editor", "laptop")
    admin.set_owner(Owner("anna", slots=3))
    anna = StorageDesk(storage.engine, url, Actor("anna", "editor"))
    anna.submit(STUDY)
    anna.submit(STUDY, settings=["name=later"])
    anna.pause("later")
    optuna.create_study(storage=storage, study_name="made")
    lease.acquire(storage.engine, "made")
    ask_to_park(storage.engine, "made", "anna on lab1")
    close(storage)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        make(Path(sys.argv[2]))
    else:
        make_service(storage_url(sys.argv[2]))
