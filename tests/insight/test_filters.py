import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cifar_tune.data.batches import validation_batches
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.insight.activations import passage
from cifar_tune.insight.filter_pictures import draw_feature_maps, draw_filters
from cifar_tune.insight.filters_report import write_filters
from cifar_tune.insight.predictions import predict, validation_image
from cifar_tune.plotting import class_pictures
from cifar_tune.plotting.class_pictures import draw_classes, draw_mistakes, shown_names
from cifar_tune.statistics.predictions import Predictions, worst_class
from cifar_tune.training.loop import Training
from tests.data.images import write_folder
from tests.exhaustive import few_of

from .conftest import CPU, small


@pytest.fixture(scope="module")
def trained(digits: ResidentData) -> Training:
    training = Training(small(model="tutorial_net", width=6, ema_decay=0.5), digits, CPU)
    list(training.epochs())
    return training


def made(labels: list[int], predicted: list[int], confidence: list[float], classes: int = 3) -> Predictions:
    probabilities = np.full((len(labels), classes), 0.0, dtype=np.float32)
    probabilities[range(len(labels)), predicted] = confidence
    return Predictions(tuple(f"class{index}" for index in range(classes)), np.array(labels), probabilities)


def test_confusion_and_mistakes() -> None:
    found = made([0, 0, 1, 2, 2], [0, 1, 1, 1, 0], [0.9, 0.6, 0.5, 0.7, 0.8])
    assert found.confusion().tolist() == [[1, 1, 0], [0, 1, 0], [1, 1, 0]]
    assert found.mistakes().tolist() == [4, 3, 1]
    assert found.accuracy == 0.4
    assert worst_class(found.classes, found.confusion()) == ("class2", 0.0)


def test_names_that_no_font_can_show_are_numbers_in_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_names(("ant", "bee")) == (["ant", "bee"], "")
    monkeypatch.setattr(class_pictures, "has_font", str.isascii)
    names, remark = shown_names(("ant", "猫", "犬"))
    assert names == ["ant", "class 1", "class 2"]
    assert remark.endswith("are numbers, in the order of classes.csv, from 0")
    found = replace(made([0, 1, 2], [0, 2, 2], [0.9, 0.6, 0.5]), classes=("ant", "猫", "犬"))
    figure = draw_classes(found.classes, found.confusion(), "images")
    left, right = figure.axes
    for axis in (left.yaxis, right.xaxis, right.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == ["ant", "class 1", "class 2"]
    assert figure.get_supxlabel().endswith(remark)


def test_wide_names_are_shortened_to_the_same_width() -> None:
    assert class_pictures._short("abcdefghijklmn") == "abcdefghijklmn"
    assert class_pictures._short("abcdefghijklmno") == "abcdefghijklm…"
    assert class_pictures._short("猫" * 7) == "猫" * 7
    assert class_pictures._short("猫" * 8) == "猫" * 6 + "…"
    assert class_pictures._short("") == ""


def test_predictions_are_those_that_were_validated(trained: Training) -> None:
    found = predict(trained)
    assert found.accuracy == pytest.approx(trained.results[-1].val_accuracy)
    assert len(found.labels) == trained.data.val_size
    ((images, labels),) = validation_batches(trained.data, trained.config)
    assert np.array_equal(found.labels, labels.numpy())
    with torch.no_grad():
        averaged, last = (model(images).softmax(1).numpy() for model in (trained.learner.evaluated,
                                                                         trained.learner.model.eval()))  # fmt: skip
    assert np.allclose(found.probabilities, averaged, atol=1e-6)
    assert not np.allclose(averaged, last, atol=1e-6)


def test_filters_are_the_first_layers_weights(trained: Training) -> None:
    model = trained.learner.evaluated
    way = passage(model, torch.zeros(1, 3, 16, 16))
    assert way.first_layer == "features.0 (Conv2d)"
    assert way.filters is not None
    assert np.array_equal(way.filters, next(model.parameters()).detach().numpy())
    assert [stage.maps.shape for stage in way.stages] == [(6, 12, 12), (6, 6, 6), (16, 2, 2)]
    assert [stage.layer for stage in way.stages] == ["features.1", "features.2", "features.4"]


class InPlace(nn.Module):
    """Changes the output of its convolution where it lies."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.convolution(images)
        return maps.zero_().flatten(1)


def test_a_stage_shows_what_its_layer_returned() -> None:
    model, image = InPlace(), torch.randn(1, 3, 10, 10)
    way = passage(model, image)
    assert np.allclose(way.stages[0].maps, model.convolution(image)[0].detach().numpy())


def test_a_fully_connected_first_layer_is_said() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 10))
    way = passage(model, torch.randn(1, 3, 4, 4))
    sentence = draw_filters(way)
    assert isinstance(sentence, str)
    assert "1 (Linear), is no convolution" in sentence
    maps = draw_feature_maps(way, np.zeros((4, 4, 3), dtype=np.uint8), "a", "b", 0.5)
    assert isinstance(maps, str)


def test_many_classes_can_be_drawn() -> None:
    for classes in (2, 30, 100):
        labels = list(range(classes))
        found = made(labels, labels[::-1], [0.5] * classes, classes)
        draw_classes(found.classes, found.confusion(), "images").draw_without_rendering()


def test_nothing_wrong_is_said() -> None:
    assert draw_mistakes(("ant", "bee"), [], 0, 2, "validation images") == "All 2 validation images are right."


def test_the_files(trained: Training, tmp_path: Path) -> None:
    predictions, files = write_filters(tmp_path / "new", trained, 3)
    names = {file.name for file in files}
    assert names == {"filters.json", "classes.csv", "confusion.csv", "mistakes.csv", "filters.png",
                     "feature_maps.png", "classes.png", "mistakes.png"}  # fmt: skip
    for file in files:
        if file.suffix == ".png":
            assert Image.open(file).size[0] > 400
    rows = list(csv.DictReader((tmp_path / "new" / "classes.csv").open()))
    assert [row["class"] for row in rows] == list(trained.data.classes)
    assert sum(int(row["right"]) for row in rows) == round(predictions.accuracy * 100)
    mistakes = list(csv.DictReader((tmp_path / "new" / "mistakes.csv").open()))
    assert len(mistakes) == 100 - round(predictions.accuracy * 100)
    assert all(row["true"] != row["predicted"] for row in mistakes)
    assert list(mistakes[0]) == ["image", "true", "predicted", "probability"]  # the digits are no files
    assert json.loads((tmp_path / "new" / "filters.json").read_text())["path"] is None
    confusion = [row[1:] for row in list(csv.reader((tmp_path / "new" / "confusion.csv").open()))[1:]]
    assert np.array_equal(np.array(confusion, dtype=int), predictions.confusion())


@pytest.mark.parametrize("has_val", few_of([False, True], [False]))
def test_mistakes_on_images_in_folders_name_their_files(
    has_val: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "mine"
    write_folder(root / "train", {"ant": 30, "bee": 30})
    if has_val:
        write_folder(root / "val", {"ant": 15, "bee": 15}, seed=1)
    val_size = None if has_val else 30
    data = ResidentData(prepare(DataSpec(name="image_folder", root=str(root), image_size=32, val_size=val_size)), CPU)
    training = Training(small(width=4, batch_size=16), data, CPU)
    list(training.epochs())
    write_filters(tmp_path / "new", training, 3)
    mistakes = list(csv.DictReader((tmp_path / "new" / "mistakes.csv").open()))
    assert mistakes
    for row in mistakes:
        image = np.asarray(Image.open(root / row["path"]).convert("RGB"))
        assert np.array_equal(image, validation_image(data, int(row["image"])))
        assert row["path"].startswith(f"{'val' if has_val else 'train'}/{row['true']}/")
    summary = json.loads((tmp_path / "new" / "filters.json").read_text())
    assert np.array_equal(np.asarray(Image.open(root / summary["path"])), validation_image(data, 3))
