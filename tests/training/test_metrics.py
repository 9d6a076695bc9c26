"""Further metrics of an epoch, against scikit-learn and a slow reference."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn import metrics as reference
from torch import nn

from cifar_tune.data.batches import validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import CheckError
from cifar_tune.knobs.metrics import MEASURES, MetricPart, find_measure, measure_names
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.vocabulary import BUILT_IN, METRIC, vocabulary_with
from cifar_tune.training.checkpoint import CheckpointError, load, save
from cifar_tune.training.checkpoint_fit import go_on
from cifar_tune.training.evaluation import KeptLogits, Tally, evaluate_into
from cifar_tune.training.loop import Training
from cifar_tune.training.metrics import Measures
from tests.taped_graphs import TapedGraphs

from .conftest import CPU, small
from .test_waits import META, NoWaits
from .test_waits import batches as batches_on_meta

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """Guo et al. 2017, bin by bin."""
    found = 0.0
    for index in range(15):
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, labels, strict=True)
            if index / 15 < row.max() <= (index + 1) / 15
        ]
        if inside:
            confidence, right = np.mean([each[0] for each in inside]), np.mean([each[1] for each in inside])
            found += len(inside) / len(labels) * abs(confidence - right)
    return found


REFERENCES: dict[str, Callable[[Probabilities, Labels], Any]] = {
    "balanced_accuracy": lambda p, y: reference.balanced_accuracy_score(y, p.argmax(1)),
    "macro_f1": lambda p, y: reference.f1_score(y, p.argmax(1), average="macro"),
    "topK_accuracy": lambda p, y: reference.top_k_accuracy_score(y, p, k=5, labels=range(p.shape[1])),
    "auroc": lambda p, y: reference.roc_auc_score(y, p[:, 1]),
    "ece": calibration_error,
}
EVERY = [f"val_{name}" for name in measure_names(MEASURES) if name != "auroc"]


def made(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are right more often than not, of images of which half are of class 0."""
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (300,), generator=generator)
    labels[:150] = 0
    logits = 2 * torch.randn(300, classes, generator=generator)
    logits[torch.arange(300), labels] += 2
    return logits, labels


@pytest.mark.parametrize("name", MEASURES)
def test_every_metric_is_what_it_is_elsewhere(name: str) -> None:
    logits, labels = made(2 if MEASURES[name].most_classes == 2 else 8)
    (spoken,) = (each for each in measure_names({name: MEASURES[name]}))
    found = Measures([f"val_{spoken}"], BUILT_IN).of(logits, labels)
    expected = REFERENCES[name](logits.double().softmax(1).numpy(), labels.numpy())
    assert found == {f"val_{spoken}": pytest.approx(float(expected), abs=1e-12)}
    assert 0.01 < found[f"val_{spoken}"] < 0.99


def test_classes_that_are_not_seen_or_not_predicted_make_no_warning() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2])
    logits = torch.eye(5)[torch.tensor([0, 0, 1, 4, 4])] * 9  # 3 is neither, 4 is predicted alone, 2 never
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Measures(["val_balanced_accuracy", "val_macro_f1", "val_top2_accuracy"], BUILT_IN).of(logits, labels)
    assert found["val_balanced_accuracy"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["val_macro_f1"] == pytest.approx((1 + 2 / 3 + 0 + 0) / 4)


def test_the_right_class_is_among_several_at_least_as_often_as_it_is_the_first() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    names = [f"val_top{k}_accuracy" for k in (2, 3)]
    assert Measures(names, BUILT_IN).of(torch.zeros(4, 5), labels) == dict.fromkeys(names, 1.0)
    coarse = torch.tensor([[2.0, 1.0, 1.0, 1.0]] * 4)  # as bf16 leaves them
    assert Measures(["val_top2_accuracy"], BUILT_IN).of(coarse, labels) == {"val_top2_accuracy": 1.0}


def test_a_model_that_is_very_sure_keeps_its_order() -> None:
    """Of 64 bits none is left to tell the probabilities of a difference of 40 and of 50 apart."""
    logits = torch.tensor([[0.0, 40.0], [0.0, 45.0], [0.0, 50.0], [0.0, 60.0], [9.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1, 0])
    auroc = Measures(["val_auroc"], BUILT_IN)
    assert auroc.of(logits, labels) == {"val_auroc": 1.0}
    assert auroc.of(-logits, labels) == {"val_auroc": 0.0}


def test_images_of_one_class_have_no_curve() -> None:
    with pytest.raises(CheckError, match="needs images of both classes"):
        Measures(["val_auroc"], BUILT_IN).of(torch.randn(4, 2), torch.ones(4, dtype=torch.int64))


def test_calibration_of_sure_answers() -> None:
    sure = torch.tensor([[100.0, -100.0]] * 4)
    ece = Measures(["val_ece"], BUILT_IN)
    assert ece.of(sure, torch.tensor([0, 0, 0, 0])) == {"val_ece": 0}
    assert ece.of(sure, torch.tensor([1, 1, 1, 0])) == {"val_ece": pytest.approx(0.75)}
    assert ece.of(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])) == {"val_ece": pytest.approx(0)}


def test_the_number_is_part_of_the_name() -> None:
    three = find_measure("top3_accuracy", MEASURES)
    assert three is not None
    assert (three.constants, three.fewest_classes, three.title) == ({"k": 3}, 4, "top-3 accuracy")
    assert three.meaning == "share of the images whose class is among the 3 most probable ones"
    for wrong in ("top1_accuracy", "top0_accuracy", "top03_accuracy", "topK_accuracy", "top_accuracy", "top3"):
        assert find_measure(wrong, MEASURES) is None


def logits_of(training: Training, data: ResidentData) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*validation_batches(data, training.config), strict=True)
    with torch.inference_mode():
        return training.learner.evaluated.eval()(torch.cat(images)).float(), torch.cat(labels)


@pytest.fixture(scope="module")
def measured(digits: ResidentData) -> Training:
    """Two epochs, with every metric."""
    training = Training(small(epochs=2, test_time_augmentation="mirror"), digits, CPU, measures=EVERY)
    list(training.epochs())
    return training


def test_a_training_measures_what_it_validates(measured: Training, digits: ResidentData) -> None:
    last = measured.results[-1]
    logits, labels = logits_of(measured, digits)
    probabilities = logits.double().softmax(1).numpy()
    for name in EVERY:
        key = name.removeprefix("val_").replace("top5", "topK")
        assert last.measures[name] == pytest.approx(REFERENCES[key](probabilities, labels.numpy()), abs=1e-6), name
    assert last.val_loss == pytest.approx(reference.log_loss(labels.numpy(), probabilities, labels=range(10)), rel=1e-5)


def test_measuring_changes_nothing_else_and_what_is_not_asked_for_is_not_kept(
    measured: Training, digits: ResidentData
) -> None:
    plain = Training(measured.config, digits, CPU)
    list(plain.epochs())
    assert plain._validation.logits is None
    for one, other in zip(measured.results, plain.results, strict=True):
        assert {**one.as_dict(), "seconds": 0} == {**other.as_dict(), "seconds": 0, "measures": one.measures}
        assert "measures" not in other.as_dict()


def test_full_batches_in_a_graph_are_measured_as_without(
    measured: Training, digits: ResidentData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.data.batches.EVALUATION_BATCH", 30)  # three full ones, and a rest
    by_graph = Training(measured.config, digits, CPU, TapedGraphs(), measures=EVERY)
    list(by_graph.epochs())
    assert by_graph._validation._replayed is not None
    assert by_graph._validation._replayed.is_ready
    logits, labels = logits_of(by_graph, digits)
    expected = Measures(EVERY, BUILT_IN).of(logits, labels)
    assert by_graph.results[-1].measures == pytest.approx(expected, abs=1e-6)


def test_keeping_logits_waits_for_nothing() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).to(META)
    kept = KeptLogits(16, 10, META)
    with NoWaits("meta"):
        kept.begin()
        evaluate_into(Tally(META), model, batches_on_meta(), "fp32", META, kept.add)


def test_a_checkpoint_keeps_them_and_an_older_one_has_none(
    measured: Training, digits: ResidentData, tmp_path: Path
) -> None:
    config = measured.config
    first, path = Training(config, digits, CPU, measures=EVERY), tmp_path / "checkpoint.pt"
    next(first.epochs())
    save(path, first.state_dict())
    continued = Training(config, digits, CPU, measures=EVERY)
    go_on(continued, path)
    list(continued.epochs())
    assert [each.measures for each in continued.results] == [each.measures for each in measured.results]
    older = first.state_dict()
    older["results"] = [{k: v for k, v in each.items() if k != "measures"} for each in older["results"]]
    save(path, older)
    continued = Training(config, digits, CPU, measures=EVERY)
    go_on(continued, path)
    list(continued.epochs())
    assert [set(each.measures) for each in continued.results] == [set(), set(EVERY)]
    for broken in ({"val_ece": float("nan")}, {"val_ece": "0"}, {3: 0.5}, [0.5]):
        save(path, {**older, "results": [{**older["results"][0], "measures": broken}]})
        with pytest.raises(CheckpointError, match="damaged"):
            load(path, config, digits.fingerprint)


@pytest.mark.parametrize("given", [float("nan"), float("inf"), None, "many", [0.5, 0.5], 1j])
def test_a_metric_of_a_plugin_must_give_a_finite_number(given: object) -> None:
    part = MetricPart(lambda probabilities, labels: given, "odd", direction="maximize")
    vocabulary = vocabulary_with([Plugin("my_parts.py", "0" * 64, {METRIC: {"odd": part}}, {})])
    with pytest.raises(CheckError, match=r"^metric val_odd gave .*; it must give one finite number$"):
        Measures(["val_odd"], vocabulary).of(*made(3))


def test_a_metric_of_a_plugin_gets_arrays_of_its_own() -> None:
    def sorts(probabilities: Probabilities, labels: Labels) -> np.float64:
        probabilities.sort(axis=1)
        labels[:] = 0
        return np.float64(0.25)

    part = MetricPart(sorts, "sorts in place", direction="minimize")
    vocabulary = vocabulary_with([Plugin("my_parts.py", "0" * 64, {METRIC: {"sorts": part}}, {})])
    found = Measures(["val_sorts", "val_macro_f1"], vocabulary).of(*made(3))
    assert found == {"val_sorts": 0.25, **Measures(["val_macro_f1"], BUILT_IN).of(*made(3))}
