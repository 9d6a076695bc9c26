"""Makes the databases of earlier releases that `test_upgrading` upgrades.

Run it with the code of a release before its tables change, and commit the file:

    python -m tests.service.old_database tests/service/databases/0.1.0.sql
"""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

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


if __name__ == "__main__":
    make(Path(sys.argv[1]))
