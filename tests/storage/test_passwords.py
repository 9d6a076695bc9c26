"""A password in the URL of the storage shows up nowhere."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import URL

from cifar_tune.storage.rdb import close, open_storage
from tests.postgres import create_database
from tests.processes import call_cifar_tune

from .conftest import FreshUrl

SECRET = "geh3im-77"  # noqa: S105
STUDY = """
name: secret
budget: {trials: 2}
data: {name: digits, val_size: 100, train_size: 200}
train: {model: cnn2, width: 4, epochs: 1}
search_space: {lr: {low: 1e-4, high: 1e-2, log: true}}
"""


@pytest.fixture(params=["postgresql", "postgresql, in the query", "mysql"])
def url_with_password(request: pytest.FixtureRequest) -> Iterator[URL]:
    if request.param == "mysql":
        create: FreshUrl = request.getfixturevalue("mysql")
        url = create()
        accounts = [f"'cifar_tune_{os.getpid()}'@'{host}'" for host in ("localhost", "%")]
        _do(url, *(f"CREATE USER {each} IDENTIFIED BY '{SECRET}'" for each in accounts))
        _do(url, *(f"GRANT ALL ON {url.database}.* TO {each}" for each in accounts))
        yield url.set(username=f"cifar_tune_{os.getpid()}", password=SECRET)
        _do(url, *(f"DROP USER {each}" for each in accounts))
        return
    url = create_database(request.getfixturevalue("postgres"), f"secret_{os.getpid()}_{len(request.param)}")
    if "query" in request.param:
        yield url.update_query_dict({"password": SECRET})  # this server lets everybody in
    else:
        yield url.set(password=SECRET)


def _do(url: URL, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    engine.dispose()


@pytest.mark.usefixtures("blank_pictures")
def test_neither_a_run_nor_its_reports_show_it(url_with_password: URL, tmp_path: Path) -> None:
    url = url_with_password
    secret = str(url.password or url.query["password"])
    (tmp_path / "study.yaml").write_text(STUDY)
    environment = os.environ | {"CIFAR_TUNE_STORAGE": url.render_as_string(hide_password=False)}
    for arguments in (("run", "study.yaml"), ("status",), ("status", "secret", "--json"), ("export", "secret")):
        code, out, err = call_cifar_tune(arguments, tmp_path, environment)
        assert code == 0, err
        assert secret not in out + err
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) > 5
    assert [file for file in written if secret.encode() in file.read_bytes()] == []
    storage = open_storage(url)
    with storage.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT value_json FROM study_user_attributes").scalars().all()
    close(storage)
    assert not any(secret in str(row) for row in rows)
