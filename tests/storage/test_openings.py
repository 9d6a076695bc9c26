"""The record of openings of a test set: none is lost or doubled, whatever happens meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import optuna
from sqlalchemy.engine import URL

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.analyses import pieces
from cifar_tune.storage.openings import (
    begin_opening,
    elsewhere_words,
    numbers_of_openings,
    openings_elsewhere,
    read_openings,
    write_opening,
)
from cifar_tune.storage.rdb import close, open_storage
from tests.reports.factory import OPENING, RESULT, analysed_opening


def load(storage: BatchStorage) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=storage)


def test_processes_that_open_at_the_same_time_are_all_on_the_record(rdb: BatchStorage, database: URL) -> None:
    """As when a machine sleeps, another one takes the study over, and the first one wakes up again."""

    def opened(person: str) -> list[int]:
        storage = open_storage(database)
        made = [replace(OPENING, person=person, identity=f"{person} {each}") for each in range(3)]
        numbers = [begin_opening(storage, load(storage), each) for each in made]
        close(storage)
        return numbers

    with ThreadPoolExecutor(3) as pool:
        numbers = list(pool.map(opened, ("ann", "bob", "cem")))
    assert sorted(each for of_one in numbers for each in of_one) == list(range(9))
    found = read_openings(load(rdb).user_attrs)
    assert {each.identity for each in found} == {
        f"{person} {each}" for person in ("ann", "bob", "cem") for each in (0, 1, 2)
    }


def test_an_opening_that_is_written_once_more_is_not_doubled(rdb: BatchStorage) -> None:
    """The database took it, and its answer was lost."""
    study = load(rdb)
    first, second = (replace(OPENING, identity=name) for name in ("first", "second"))
    assert [begin_opening(rdb, study, each) for each in (first, second, first, second)] == [0, 1, 0, 1]
    assert read_openings(study.user_attrs) == [first, second]


def test_an_opening_that_is_taken_back_hides_no_later_one(rdb: BatchStorage) -> None:
    study = load(rdb)
    first, second, third = (replace(RESULT, identity=name) for name in ("first", "second", "third"))
    begin_opening(rdb, study, first)
    begin_opening(rdb, study, second)
    write_opening(study, 0, None)
    assert read_openings(study.user_attrs) == [second]
    assert begin_opening(rdb, study, third) == 2
    assert read_openings(rdb.get_study_user_attrs(study._study_id)) == [second, third]
    assert numbers_of_openings(study.user_attrs) == [0, 1, 2]


def test_a_kill_while_the_result_is_written_leaves_an_opening_without_result(rdb: BatchStorage) -> None:
    """The pieces of the analysis come first; some of them, or all, may be there already."""
    study, whole = load(rdb), analysed_opening()
    assert whole.analysis is not None
    parts = list(pieces(whole.analysis, 0))
    assert len(parts) > 1
    begun = replace(whole, test_images=None, test_loss=None, test_accuracy=None, analysis=None)
    begin_opening(rdb, study, begun)
    for name, text in parts:
        study.set_user_attr(name, text)
        assert read_openings(study.user_attrs) == [begun]
    write_opening(study, 0, whole)
    assert read_openings(study.user_attrs) == [whole]


def test_openings_of_the_same_images_for_other_studies_are_known(rdb: BatchStorage) -> None:
    own = replace(RESULT, identity="own", test_fingerprint="same")
    copied = optuna.create_study(storage=rdb, study_name="s@1")  # as the study was before it evolved
    for study, *openings in (
        (load(rdb), own),
        (copied, own),
        (optuna.create_study(storage=rdb, study_name="twice"), replace(own, identity="a"), replace(own, identity="b")),
        (optuna.create_study(storage=rdb, study_name="others"), replace(own, identity="c", test_fingerprint="other")),
        (optuna.create_study(storage=rdb, study_name="old"), replace(RESULT, identity="d")),
    ):
        for opening in openings:
            begin_opening(rdb, study, opening)
    damaged = optuna.create_study(storage=rdb, study_name="damaged")
    for number, value in enumerate((["no opening"], {"trial": 1}, None), start=1):
        damaged.set_user_attr(f"test_opening_{number}", value)
    found = openings_elsewhere(rdb, "s", [own])
    assert [(study, opening.identity) for study, opening in found] == [("twice", "a"), ("twice", "b")]
    assert "opened for other studies too: twice (twice)." in elsewhere_words(found)
    assert openings_elsewhere(rdb, "old", [RESULT]) == []
    assert elsewhere_words([]) == ""
