"""Files that other programs run: they do what the model does, or they are not there."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from cifar_tune import __version__
from cifar_tune.conversion import converting
from cifar_tune.conversion.agreement import BOUNDS, Bounds
from cifar_tune.conversion.converting import Converted, convert, require_free
from cifar_tune.conversion.images import labelled_images
from cifar_tune.conversion.wanted import Wanted
from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import CheckError, UserError
from cifar_tune.model_files.loading import SavedModel
from tests.exhaustive import few_of

Logits = npt.NDArray[np.float32]
BATCHES = (1, 7)


def make(model: SavedModel, wanted: Wanted) -> tuple[Converted, list[str]]:
    said: list[str] = []
    return convert(model, wanted, said.append), said


def images(prepared: PreparedData, count: int) -> npt.NDArray[np.uint8]:
    """Some that are not for validation, uint8 [count, 3, H, W]."""
    found = prepared.open_images()[prepared.train_indices[:count]]
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2))


@torch.no_grad()
def expected(model: SavedModel, batch: npt.NDArray[np.uint8]) -> Logits:
    logits: Logits = model(torch.from_numpy(batch)).numpy()
    return logits


def run_onnx(file: Path, batch: npt.NDArray[Any]) -> Logits:
    """As somebody does who has onnxruntime and the file alone."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    [logits] = session.run(None, {"images": batch})
    return np.asarray(logits)


def kept_bytes(file: Path) -> list[int]:
    """Sizes of the tensors in a file."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return [
                each.file_size for each in archive.infolist() if "/data/" in each.filename and "." not in each.filename
            ]
    return [len(each.raw_data) for each in onnx.load(file).graph.initializer]


def test_onnx_takes_bytes_in_batches_of_any_size(model: SavedModel, prepared: PreparedData, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    made, said = make(model, Wanted("onnx", "fp32", True, file, None))
    assert said == ["converting to onnx"]
    assert made.size == file.stat().st_size
    assert (made.compared_on, made.agreement.images, made.val_accuracy) == ("100 validation images", 100, None)
    for size in BATCHES:
        batch = images(prepared, size)
        np.testing.assert_allclose(run_onnx(file, batch), expected(model, batch), atol=1e-5)
    proto = onnx.load(file)
    onnx.checker.check_model(proto)
    assert [each.dim_param or each.dim_value for each in proto.graph.input[0].type.tensor_type.shape.dim] == [
        "batch", 3, 32, 32,
    ]  # fmt: skip
    values = {each.key: each.value for each in proto.metadata_props}
    assert values["cifar_tune"] == __version__
    assert json.loads(values["classes"]) == [str(digit) for digit in range(10)]
    assert values["input"] == "images: uint8 [batch, 3, 32, 32], red, green and blue, 0 to 255"
    assert json.loads(values["description"]) == model.description.model_dump(mode="json")
    assert str(Path.cwd()).encode() not in file.read_bytes()


def test_pt2_without_preprocessing(model: SavedModel, prepared: PreparedData, tmp_path: Path) -> None:
    file = tmp_path / "model.pt2"
    make(model, Wanted("pt2", "fp32", False, file, None))
    extra = {"metadata.json": ""}
    graph = torch.export.load(file, extra_files=extra).module()
    values = json.loads(extra["metadata.json"])
    scale, shift = (np.array(json.loads(values[name]), np.float32)[:, None, None] for name in ("scale", "shift"))
    for size in BATCHES:
        batch = images(prepared, size)
        logits = graph(torch.from_numpy(batch * scale + shift)).detach().numpy()
        np.testing.assert_allclose(logits, expected(model, batch), atol=1e-5)
    assert values["input"].startswith("images: float32 [batch, 3, 32, 32]")
    with zipfile.ZipFile(file) as archive:
        beginnings = {name: archive.read(name)[:2] for name in archive.namelist()}
    assert [name for name, two in beginnings.items() if two in {b"\x80\x02", b"PK"}] == []  # as pickles of torch begin
    assert str(Path.cwd()).encode() not in file.read_bytes()


@pytest.mark.parametrize(
    ("target", "weights", "share"),
    few_of([("pt2", "fp16", 0.53), ("onnx", "fp16", 0.53), ("onnx", "int8", 0.4)], [("onnx", "int8", 0.4)]),
)
def test_smaller_weights_are_measured(
    target: str, weights: Any, share: float, model: SavedModel, prepared: PreparedData, tmp_path: Path
) -> None:
    file = tmp_path / "model"
    made, said = make(model, Wanted(target, weights, True, file, None))
    plain = sum(each.numel() * 4 for each in model.network.parameters())
    assert plain / 5 < sum(kept_bytes(file)) < plain * share
    assert said[-1] == "measuring the accuracy on 100 validation images"
    batch = np.ascontiguousarray(prepared.open_images()[prepared.val_indices].transpose(0, 3, 1, 2))
    labels = prepared.labels[prepared.val_indices]
    logits = expected(model, batch)
    ran = run_onnx(file, batch) if target == "onnx" else torch.export.load(file).module()(torch.from_numpy(batch))
    found = np.asarray(ran.detach() if isinstance(ran, Tensor) else ran)
    assert made.val_accuracy == ((logits.argmax(1) == labels).mean(), (found.argmax(1) == labels).mean())
    assert 0 < made.agreement.difference == pytest.approx(np.abs(logits - found).max(), rel=1e-3)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Bounds(0, 0, 1), "a logit differs by"),
        (Bounds(1, 0, 0), "the accuracy on 100 validation images falls from 0.5000 to 0.2500"),
    ],
)
def test_a_file_that_is_out_of_bounds_is_not_kept(
    bounds: Bounds, words: str, model: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting, "BOUNDS", {**BOUNDS, "fp16": bounds})
    values = iter([0.5, 0.25])
    monkeypatch.setattr(converting, "accuracy", lambda *_: next(values))
    file = tmp_path / "model.pt2"
    file.write_bytes(b"of yesterday")
    with pytest.raises(CheckError, match=words) as raised:
        make(model, Wanted("pt2", "fp16", True, file, None))
    assert str(raised.value).startswith(f"{file} was not written, since ")
    assert file.read_bytes() == b"of yesterday"
    assert list(tmp_path.iterdir()) == [file]


def elsewhere(model: SavedModel) -> SavedModel:
    """The same where its images are not."""
    data = {**model.description.data, "name": "image_folder", "root": "/nowhere/at/all"}
    return SavedModel(
        model.network, model.description.model_copy(update={"data": data}), model.configuration, "fp32"
    ).eval()


def test_without_images_noise_is_compared_and_called_so(model: SavedModel, tmp_path: Path) -> None:
    made, said = make(elsewhere(model), Wanted("pt2", "fp32", True, tmp_path / "model.pt2", None))
    assert made.compared_on == "250 images of random pixels"
    assert said[0].startswith("note: the validation images of the training are not found: ")
    assert said[1].startswith("note: the file is compared on random pixels, which are no real images; ")


def test_smaller_weights_need_the_validation_images(model: SavedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--weights = 'int8': is kept only if .* they are not found"):
        make(elsewhere(model), Wanted("onnx", "int8", True, tmp_path / "model.onnx", None))
    assert list(tmp_path.iterdir()) == []


def test_what_must_be_known_of_the_images_is_said(model: SavedModel, tmp_path: Path) -> None:
    origin = model.description.origin.model_copy(update={"command": "finalize"})
    changed = model.description.model_copy(update={"origin": origin, "fingerprint": "0", "precision": "bf16"})
    final = SavedModel(model.network, changed, model.configuration, "bf16").eval()
    _, said = make(final, Wanted("pt2", "fp32", True, tmp_path / "model.pt2", None))
    assert [line.split(":")[0] for line in said] == ["note", "note", "note", "converting to pt2"]
    assert "finalize trained this model on its validation images, too" in said[0]
    assert "are not exactly those of the training" in said[1]
    assert "evaluated the model in bf16" in said[2]
    assert final.precision == "bf16"


class Undecided(nn.Module):
    """Asks the pixels which way to go."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean((2, 3)) if pixels.sum() > 0 else pixels.amax((2, 3))


class Exotic(nn.Module):
    """Uses an operator that ONNX does not have."""

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = torch.linalg.svdvals(pixels).sum(1)
        return logits


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Undecided(), r"^torch\.export cannot follow the model: .*data-dependent"),
        (Exotic(), r"^ONNX cannot hold the model: .*svd"),
    ],
)
def test_what_cannot_be_converted_is_a_sentence(
    network: nn.Module, words: str, model: SavedModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = SavedModel(network, model.description, model.configuration, "fp32").eval()
    with pytest.raises(CheckError, match=words) as raised:
        make(odd, Wanted("onnx", "fp32", True, tmp_path / "model.onnx", None))
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


ODD_ARCHIVES = [(zipfile.ZIP_DEFLATED, "[" * 100_000), (zipfile.ZIP_DEFLATED, "[1]"), (zipfile.ZIP_LZMA, "{}")]


def archived(method: int, text: str) -> bytes:
    """An archive like a pt2 file; one of LZMA is broken."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("model/extra/metadata.json", text)
    return buffer.getvalue().replace(b"\x5d\x00", b"\xff\xff") if method == zipfile.ZIP_LZMA else buffer.getvalue()


@pytest.mark.parametrize("data", [{"name": "x"}, {"name": "digits", "root": 5}, {"name": "digits", "odd": 1}])
def test_data_that_nobody_knows_are_told(data: dict[str, Any], model: SavedModel) -> None:
    odd = SavedModel(
        model.network, model.description.model_copy(update={"data": data}), model.configuration, "fp32"
    ).eval()
    with pytest.raises(UserError, match=r"model\.json: data\."):
        labelled_images(odd)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for target in ("onnx", "pt2"):
        wanted = Wanted(target, "fp32", True, tmp_path / f"model.{target}", None)
        require_free(wanted)
        buffer = io.BytesIO()
        torch.save({}, buffer)
        empty = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
        odd = [archived(method, text) for method, text in ODD_ARCHIVES]
        for content in (b"", b"a note", buffer.getvalue(), empty.SerializeToString(), *odd, odd[0][:-40]):
            wanted.file.write_bytes(content)
            with pytest.raises(UserError, match="is there already, and `cifar-tune convert` did not write it"):
                require_free(wanted)
        folder = replace(wanted, file=tmp_path)
        with pytest.raises(UserError, match="cannot be replaced"):
            require_free(folder)


@pytest.mark.parametrize("weights", ["fp16"])
def test_weights_that_are_too_large_are_refused(weights: Any, model: SavedModel, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    nn.init.constant_(network[1].weight, 1e5)  # type: ignore[arg-type]
    large = SavedModel(network, model.description, model.configuration, "fp32").eval()
    with pytest.raises(CheckError, match=r"fp16 cannot hold the weights of model\.1: the largest is 1e\+05"):
        make(large, Wanted("onnx", weights, True, tmp_path / "model.onnx", None))
