from pathlib import Path
from urllib.parse import quote

import pytest

from cifar_tune.errors import UserError
from cifar_tune.storage.patience import Outage
from cifar_tune.storage.urls import (
    ARTIFACTS_VARIABLE,
    DEFAULT_STORAGE,
    STORAGE_VARIABLE,
    artifacts_folder,
    checkpoint_name,
    checkpoints_in,
    driver_advice,
    found_folder,
    require_artifacts_folder,
    shown,
    sqlite_file,
    storage_url,
    study_folder,
    without_secrets,
    without_secrets_of_urls,
)
from cifar_tune.study.checkpoints import sweep
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import Document

SECRET = "geh3im"  # noqa: S105

ID = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STORAGE_VARIABLE, raising=False)
    monkeypatch.delenv(ARTIFACTS_VARIABLE, raising=False)


def test_the_option_goes_before_the_variable_and_the_variable_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert shown(storage_url(None)) == DEFAULT_STORAGE
    monkeypatch.setenv(STORAGE_VARIABLE, "sqlite:///from_variable.db")
    assert shown(storage_url(None)) == "sqlite:///from_variable.db"
    assert shown(storage_url("")) == "sqlite:///from_variable.db"
    assert shown(storage_url("sqlite:///given.db")) == "sqlite:///given.db"
    monkeypatch.setenv(STORAGE_VARIABLE, "")
    assert shown(storage_url(None)) == DEFAULT_STORAGE


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://u@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg2://u@h/d", "postgresql+psycopg2"),
        ("postgres://u@h/d", "postgresql+psycopg"),
        ("mysql://u@h/d", "mysql+pymysql"),
        ("mariadb://u@h/d", "mysql+pymysql"),
        ("sqlite:///x.db", "sqlite"),
    ],
)
def test_a_driver_is_chosen_where_none_is_named(given: str, driver: str) -> None:
    assert storage_url(given).drivername == driver


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nonsense", "is not a database URL; it must look like sqlite:///storage/cifar_tune.db, postgresql://"),
        ("storage/cifar_tune.db", "is not a database URL"),
        ("://", "is not a database URL"),
        ("oracle://h/d", "'oracle' is not supported; use sqlite:///"),
        ("sqlite://", "must name a file, such as sqlite:///storage/cifar_tune.db; memory keeps nothing"),
        ("sqlite:///", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite:///file:x.db?uri=true", "must name a file"),
        (f"postgresql://u:{SECRET}@h:port/d", "is not a database URL"),
        (f"sqlserver://u:{SECRET}@h/d", "'sqlserver' is not supported"),
        (f"postgresql://u:a@{SECRET}@h/d", "holds more than one @; write %40 for one in a user name or a password"),
    ],
)
@pytest.mark.parametrize("by_option", [True, False])
def test_refused_urls(given: str, message: str, by_option: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, given)
    with pytest.raises(UserError) as raised:
        storage_url(given if by_option else None)
    assert str(raised.value).startswith(f"{'--storage' if by_option else STORAGE_VARIABLE}: {message}")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "given",
    [
        f"postgresql://u:{SECRET}@h:5432/d",
        f"postgresql://h/d?user=u&password={SECRET}",
        f"mysql://h/d?passwd={SECRET}",
        f"postgresql://h/d?sslpassword={SECRET}&sslmode=require",
        f"mysql://h/d?ssl_key_password={SECRET}",
        f"postgresql://h/d?sslmode=require&oauth_client_secret={SECRET}",
        f"postgresql://h/d?what_comes_next={SECRET}&what_comes_next={SECRET}2",
        f"sqlite:///x.db?key={SECRET}",
    ],
)
def test_a_password_is_never_shown(given: str) -> None:
    url = storage_url(given)
    assert SECRET not in shown(url)
    assert SECRET not in without_secrets(f"login with {SECRET} failed", url)
    assert SECRET in url.render_as_string(hide_password=False)


def test_parameters_are_shown_if_they_are_known_to_be_harmless() -> None:
    given = "postgresql+psycopg://u:p@h/d?application_name=tune&host=a%3A1&host=b%3A2&new_one=x&sslmode=require"
    expected = "postgresql+psycopg://u:***@h/d?application_name=tune&host=a%3A1&host=b%3A2&new_one=***&sslmode=require"
    assert shown(storage_url(given)) == expected
    words = "bad value 1 for new_one: 'x'"
    assert without_secrets(words, storage_url("postgresql://h/d?new_one=1&other=x")) == words


def test_urls_in_a_text_lose_their_secrets_whatever_else_they_are() -> None:
    text = f"File x\n  run --storage=mysql://u:{SECRET}@h:port/d?ssl_key_password={SECRET}&charset=utf8 'x'"
    assert without_secrets_of_urls(text) == (
        "File x\n  run --storage=mysql://u:***@h:port/d?ssl_key_password=***&charset=utf8 'x'"
    )
    elsewhere = "see https://example.org/?page=2"
    assert without_secrets_of_urls(elsewhere) == elsewhere


def test_other_words_stay() -> None:
    assert without_secrets("no such host", storage_url("postgresql://u@h/d")) == "no such host"


def test_the_file_of_a_url() -> None:
    assert sqlite_file(storage_url("sqlite:///a/b.db")) == Path("a/b.db")
    assert sqlite_file(storage_url("sqlite:////a/b.db")) == Path("/a/b.db")
    assert sqlite_file(storage_url("postgresql://h/d")) is None


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("postgresql://h/d", "install it with: pip install 'cifar-tune[postgres]'"),
        ("mysql://h/d", "install it with: pip install 'cifar-tune[mysql]'"),
        ("mariadb://h/d", "install it with: pip install 'cifar-tune[mysql]'"),
        ("postgresql+psycopg2://h/d", "leave +psycopg2 out of the URL"),
        ("sqlite+aiosqlite:///x.db", "leave +aiosqlite out of the URL"),
    ],
)
def test_advice_on_drivers(given: str, advice: str) -> None:
    assert driver_advice(storage_url(given)) == advice


def test_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    file = checkpoints_in(study_folder("s", ID)) / checkpoint_name(7)
    assert file == Path(f"storage/artifacts/s/{ID}/checkpoints/trial-000007.pt")
    monkeypatch.setenv(ARTIFACTS_VARIABLE, "/elsewhere")
    assert artifacts_folder() == Path("/elsewhere")


def test_an_artifacts_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CIFAR_TUNE_ARTIFACTS", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"artifacts folder cannot be written .*set CIFAR_TUNE_ARTIFACTS to another"):
        require_artifacts_folder()
    monkeypatch.setenv("CIFAR_TUNE_ARTIFACTS", str(tmp_path / "new" / "folder"))
    require_artifacts_folder()
    assert list((tmp_path / "new" / "folder").iterdir()) == []


ESCAPES = [
    "../x",
    "..",
    "/etc",
    "a/../../x",
    "a/b",
    "",
    ".",
    "a\0b",
    "x" * 101,
    "C:\\x",
    "a\\b",
    "a b",
    "a\n",
    "-x",
    "a@b",
    "a@1x",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_no_name_leads_out_of_the_artifacts_folder(name: str) -> None:
    with pytest.raises(UserError, match="cannot have a folder of its own"):
        study_folder(name, ID)
    with pytest.raises(UserError, match=r"name: must be|name = .*: must be|every study needs a name"):
        read_study(Document({"name": name}), None)


@pytest.mark.parametrize("link", ["study", f"study/{ID}", f"study/{ID}/checkpoints"])
def test_a_link_out_of_the_artifacts_folder(link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious.txt").write_text("all I have")
    (tmp_path / "artifacts" / link).parent.mkdir(parents=True)
    (tmp_path / "artifacts" / link).symlink_to(tmp_path / "outside")
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "artifacts"))
    with pytest.raises(UserError, match=f"{link}: is a link, to {tmp_path}/outside, and checkpoints are kept in real"):
        study_folder("study", ID)
    found = found_folder(ID)
    assert found is None or link.endswith("checkpoints")
    assert (tmp_path / "outside" / "precious.txt").exists()


def test_the_artifacts_folder_itself_may_be_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "artifacts").symlink_to(tmp_path / "large disk")
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "artifacts"))
    require_artifacts_folder()
    study_folder("study", ID).mkdir(parents=True)
    assert (tmp_path / "large disk" / "study" / ID).is_dir()
    assert found_folder(ID) == tmp_path / "artifacts" / "study" / ID


def test_sweeping_leaves_what_is_no_checkpoint(tmp_path: Path) -> None:
    for name in ("trial-000001.pt", "trial-000003.pt", "trial-000003.pt.x1y2", "notes.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "trial-000002.pt").mkdir()  # somebody's folder in the place of a file
    (tmp_path / "trial-000004.pt").symlink_to("notes.txt")
    sweep(tmp_path, {1}, half_written=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["notes.txt", "trial-000001.pt", "trial-000002.pt"]
    sweep(tmp_path / "absent", {1}, half_written=True)


@pytest.mark.parametrize("secret", ["geh3im", "p@ss/w:rd %"])
def test_a_password_is_struck_out_however_it_is_written(secret: str) -> None:
    url = storage_url("postgresql://u@h/d").set(password=secret)
    words = f"cannot connect: {secret} or {url.render_as_string(hide_password=False)}"
    assert secret not in without_secrets(words, url)
    assert quote(secret, safe="") not in without_secrets(words, url)
    outage = Outage(0.0, OSError(words), url)
    assert outage.words == without_secrets(words, url)


@pytest.mark.parametrize("password", ["p", "er", "p.r"])
def test_a_short_password_is_no_part_of_other_words(password: str) -> None:
    url = storage_url(f"postgresql://u:{password}@h/d")
    words = "port 1 failed: no such server for peer"
    assert without_secrets(words, url) == words
    assert without_secrets(f"u gave {password!r} ({password}) at {password}@h", url) == "u gave '***' (***) at ***@h"


def test_a_long_password_is_hidden_inside_of_words_too() -> None:
    assert without_secrets("user=uhunter2x", storage_url("postgresql://u:hunter2@h/d")) == "user=u***x"
