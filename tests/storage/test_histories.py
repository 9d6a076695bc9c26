"""Long histories are kept in pieces that every database can hold."""

import json

import optuna
import pytest
from sqlalchemy.engine import URL

from cifar_tune.storage.attributes import PIECE, joined, pieces
from cifar_tune.storage.rdb import close, open_storage

FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")


def history_of(epochs: int) -> dict[str, list[float]]:
    return {name: [-1.23456789e-05 * (epoch + 1) for epoch in range(epochs)] for name in FIGURES}


@pytest.mark.parametrize("epochs", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
def test_the_pieces_make_the_whole(epochs: int) -> None:
    history = history_of(epochs)
    assert joined({**pieces(history), "epochs": epochs}) == history


def test_a_piece_fits_into_a_value_of_mysql() -> None:
    rounded = {name: [-1.23456789e-05] * PIECE for name in FIGURES}
    assert all(len(json.dumps(piece)) < 65_535 for piece in pieces(rounded).values())


def test_pieces_with_further_metrics_fit_too_and_make_the_whole() -> None:
    further = {f"val_top{number}_accuracy": [-1.2345678901234567e-300, None] * 1000 for number in range(2, 20)}
    history: dict[str, list[float | None]] = {**{name: [-1.23456789e-05] * 2000 for name in FIGURES}, **further}
    parts = pieces(history)
    assert all(len(json.dumps(piece)) < 65_535 for piece in parts.values())
    assert joined({**parts, "epochs": 2000}) == history
    fewer = {name: values[:900] for name, values in list(history.items())[:8]}  # another run asks for less
    assert joined({**parts, **pieces(fewer), "epochs": 900}) == fewer


def test_what_an_earlier_and_longer_run_left_is_not_read() -> None:
    earlier = pieces(history_of(2 * PIECE + 7))
    history = history_of(PIECE)
    assert joined({**earlier, **pieces(history), "epochs": PIECE}) == history


def test_every_database_holds_2000_epochs(database: URL) -> None:
    storage = open_storage(database)
    trial = optuna.create_study(storage=storage, study_name="s").ask()
    rounded = {name: [float(f"{value:.9g}") for value in values] for name, values in history_of(2000).items()}
    for name, piece in pieces(rounded).items():
        trial.set_user_attr(name, piece)
    attrs = optuna.load_study(study_name="s", storage=storage).trials[0].user_attrs
    close(storage)
    assert joined({**attrs, "epochs": 2000}) == rounded
