"""What `stop` prints. That it parks real runs is shown in tests/study/test_control.py."""

from pathlib import Path

import pytest

from cifar_tune.cli.stop_lines import stop_lines
from cifar_tune.storage.lease import Owner
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.parking import Parked

from .conftest import Cli

OWNER = Owner("lab1/boot", 4711, "1")


@pytest.mark.parametrize(
    ("studies", "has_answered", "wanted"),
    [
        ((), True, ["nobody runs two", "two: no trials"]),
        (
            ("two",),
            True,
            [
                "process 4711 on lab1 has parked two",
                "two: no trials",
                "go on with the same command, or with: cifar-tune run two.yaml",
            ],
        ),
        (
            ("two/finals",),
            True,
            ["process 4711 on lab1 has parked two/finals", "two: no trials", "go on with: cifar-tune finalize two"],
        ),
        (
            ("two",),
            False,
            [
                "process 4711 on lab1 died without an answer; two goes on at its checkpoints",
                "two: no trials",
                "go on with the same command, or with: cifar-tune run two.yaml",
            ],
        ),
    ],
)
def test_it_says_who_has_parked_what_and_how_it_goes_on(
    tmp_path: Path, studies: tuple[str, ...], has_answered: bool, wanted: list[str]
) -> None:
    storage = open_storage(storage_url(f"sqlite:///{tmp_path}/studies.db"))
    parked = [Parked(study, OWNER, has_answered) for study in studies]
    assert stop_lines(storage, "two", "two.yaml", parked, is_submitted=False) == wanted
    close(storage)


def test_a_study_that_is_not_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    close(open_storage(storage_url(f"sqlite:///{tmp_path}/studies.db")))
    ended = cli("stop", "abesnt", "--storage", "sqlite:///studies.db")
    assert ended.code == 2
    assert "the storage has no study 'abesnt'" in ended.err
