"""Addresses that a study file names: the server tells them, and nobody else reads them."""

import json

import pytest
from sqlalchemy.engine import URL

from cifar_tune.errors import UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import read_yaml

from .conftest import STUDY, DeskOf

HOOK = "https://hooks.example.org/secret-one"
TEXT = f"""\
# not yet: https://hooks.example.org/secret-two
x-ours: &ours [{HOOK}]
{STUDY}
notify: *ours
"""


@pytest.fixture
def url(sqlite_url: URL) -> URL:
    return sqlite_url


def test_they_are_told_and_kept_out_of_the_text(desk_of: DeskOf, storage: BatchStorage) -> None:
    anna = desk_of("anna")
    made = anna.submit(TEXT, notify=["https://example.org/secret-three", HOOK])
    assert made.notify == (HOOK, "https://example.org/secret-three")
    assert "secret" not in made.text
    assert read_study(read_yaml(made.text), None).spec == read_study(read_yaml(TEXT), None).spec
    for other in (desk_of("bert"), desk_of("vera", "viewer")):
        seen = other.submission("mine")
        assert seen.notify == ("***", "***")
        assert "secret" not in seen.text
    assert desk_of("root", "admin").submission("mine").notify == made.notify
    assert "secret" not in json.dumps([each.detail for each in anna.events()])
    with storage.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT text, notify FROM cifar_tune_submissions").all()
    assert [("secret" in text, "secret-one" in notify) for text, notify in rows] == [(False, True)]


def test_a_file_without_them_is_stored_as_it_is(desk_of: DeskOf) -> None:
    text = f"# a comment\nx-mine: 5\n{STUDY}"
    assert desk_of("anna").submit(text).text == text


@pytest.mark.parametrize(
    ("text", "settings", "notify", "words"),
    [
        (f"{STUDY}\nnotify: [secret]", [], [], "mine.yaml:8: notify[0]: is no URL"),
        (f"{STUDY}\nnotify: ['nonsense://secret']", [], [], "mine.yaml:8: notify[0]: is none "),
        (STUDY, ["notify=[nonsense://secret]"], [], "--set: notify[0]: is none "),
        (STUDY, ["notify=[https://secret"], [], "--set notify: the value is not valid YAML"),
        (f"{STUDY}\nnotify: [{HOOK}]", [], [f"https://h/secret{i}" for i in range(20)], "notify: takes 20 addresses"),
    ],
)
def test_what_is_wrong_is_said_without_them(
    desk_of: DeskOf,
    text: str,
    settings: list[str],
    notify: list[str],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    anna = desk_of("anna")
    with pytest.raises(UserError) as raised:
        anna.submit(text, "mine.yaml", settings, notify=notify)
    assert str(raised.value).startswith(words)
    assert "secret" not in f"{raised.value} {anna.events()[-1].detail} {caplog.text}"
