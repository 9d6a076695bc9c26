"""Studies with parts of the user's own, from end to end in real processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from tests.processes import Program, call_cifar_tune, start_cifar_tune
from tests.waiting import AUGMENTATION, PATIENCE, PLUGIN, Gate, wait_until

from .conftest import Cli

ROOT = Path(__file__).parents[2]
STUDY = """name: own
budget: {trials: 2}
sampler: {name: random, seed: 1}
pruner: {name: none}
data: {name: digits, val_size: 300}
plugins: [studies/plugins/own_parts.py]
train:
  model: patch_mixer
  depth: 1
  epochs: 6
  batch_size: 64
  optimizer: trust_sgd
  schedule: root_decay
  loss: poly
  augment: [channel_dropout]
search_space:
  lr: {low: 1e-2, high: 1e-1, log: true}
  trust_ratio: {low: 1e-2, high: 1e-1, log: true}
"""
FAILING = """
from torch.nn import functional
from cifar_tune.plugins import Kind, Knob, LossPart

def picky(logits, targets, *, temper):
    if temper == "bad":
        raise RuntimeError("this loss has had enough")
    return functional.cross_entropy(logits, targets)

LOSSES = {"picky": LossPart(picky, "fails now and then", arguments={"temper": "temper"})}
KNOBS = [Knob("temper", Kind.NAME, "good", "its mood", names={"good": "a", "bad": "b"}, owner="loss")]
"""
TORCH = """
import sys
from PIL import Image
from cifar_tune.cli.main import main
from cifar_tune.plotting import style
style._pixels = lambda figure: Image.new("RGB", (16, 16))
for command in sys.argv[1:]:
    sys.argv = ["cifar-tune", *command.split()]
    try:
        main()
    except SystemExit as ended:
        print(f"ENDED {command}: {ended.code or 0} {'torch' in sys.modules}", file=sys.stderr)
"""


class Folder:
    """A working folder with a study, its plugin and a storage of its own."""

    def __init__(self, path: Path, cache: Path) -> None:
        self.path = path
        shutil.copytree(ROOT / "studies", path / "studies")
        (path / "study.yaml").write_text(STUDY)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CIFAR_TUNE_")}
        self.environment = {**kept, "CIFAR_TUNE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}

    def start(self, *arguments: str) -> Program:
        return start_cifar_tune(arguments, self.path, self.environment)

    def call(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        ended, out, err = call_cifar_tune(arguments, self.path, self.environment)
        assert ended == code, err
        assert "Traceback" not in err
        return out, err

    def record(self, name: str = "own") -> StudyRecord:
        storage = open_storage(make_url(f"sqlite:///{self.path}/storage/cifar_tune.db"))
        try:
            return load_record(storage, name)
        finally:
            close(storage)

    def histories(self) -> list[tuple[Any, ...]]:
        return [
            (trial.params, trial.history["train_loss"], trial.history["val_loss"], trial.history["lr"])
            for trial in self.record().trials
        ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def here(tmp_path: Path, cli: Cli, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which `cli` runs."""
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(cache))
    return tmp_path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Folder:
    """The study, run to its end without any disturbance."""
    folder = Folder(tmp_path_factory.mktemp("done"), cache)
    folder.call("run", "study.yaml", "--quiet")
    return folder


def test_it_trains_with_own_parts(done: Folder) -> None:
    record = done.record()
    assert record.counts == {"COMPLETE": 2}
    assert record.best is not None
    assert record.best.value is not None
    assert record.best.value > 0.3
    assert record.best.config["trust_ratio"] == record.best.params["trust_ratio"]
    rates = record.best.history["lr"]
    assert all(later < before for before, later in pairwise(rates))


@pytest.mark.exhaustive
def test_an_interrupted_study_ends_with_the_values_of_an_undisturbed_one(
    done: Folder, tmp_path: Path, cache: Path
) -> None:
    folder = Folder(tmp_path / "disturbed", cache)
    study = STUDY.replace("own_parts.py]", f"own_parts.py, {PLUGIN}]").replace("dropout]", f"dropout, {AUGMENTATION}]")
    (folder.path / "study.yaml").write_text(study)
    gate = Gate(folder.path)
    gate.let(3)
    process = folder.start("run", "study.yaml", "--quiet")
    wait_until(lambda: sum(len(trial.intermediate) for trial in _trials(folder)) == 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    gate.open()
    folder.call("run", "own", "--quiet")
    assert any(trial.resumed_from for trial in folder.record().trials)
    assert folder.histories() == done.histories()


def _trials(folder: Folder) -> Any:
    try:
        return folder.record().trials
    except Exception:  # noqa: BLE001 (the study is being created right now)
        return ()


@pytest.mark.usefixtures("blank_pictures")
def test_best_yaml_is_trained_to_the_same_value(done: Folder) -> None:
    done.call("export", "own")
    best = done.path / "reports" / "own" / "best.yaml"
    [plugin] = yaml.safe_load(best.read_text())["plugins"]
    assert plugin == done.record().spec.plugins[0].reference
    out, _ = done.call("train", str(best), "--json")
    record = done.record()
    assert record.best is not None
    assert json.loads(out)["runs"][0]["val_accuracy"] == record.best.value


def test_other_commands_need_neither_torch_nor_the_file(done: Folder, tmp_path: Path) -> None:
    commands = ("status", "status study.yaml", "export study.yaml", "compare own --by trust_ratio")
    folder = tmp_path / "elsewhere"
    shutil.copytree(done.path, folder)
    shutil.rmtree(folder / "studies")
    ended = subprocess.run(
        [sys.executable, "-c", TORCH, *commands],
        cwd=folder,
        env=done.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in ended.stderr.splitlines() if line.startswith("ENDED ")]
    assert said == [f"ENDED {command}: 0 False" for command in commands], ended.stderr


def test_a_changed_plugin_is_refused_with_what_differs(done: Folder, tmp_path: Path, cache: Path) -> None:
    folder = Folder(tmp_path / "changed", cache)
    shutil.copytree(done.path / "storage", folder.path / "storage")
    parts = folder.path / "studies" / "plugins" / "own_parts.py"
    parts.write_text(parts.read_text().replace("1e-12", "1e-11"))
    for study in ("study.yaml", "own"):
        _, err = folder.call("run", study, "--trials", "3", "--quiet", code=2)
        assert "plugins.studies/plugins/own_parts.py: its code has changed\n" in err
        assert "Nothing was run" in err
    parts.unlink()
    _, err = folder.call("run", "own", "--trials", "3", "--quiet", code=2)
    assert "plugins[0] = 'studies/plugins/own_parts.py': there is no such file" in err


def test_finalize_trains_own_parts_and_no_others(done: Folder) -> None:
    plugin = done.path / "studies" / "plugins" / "own_parts.py"
    text = plugin.read_text()
    plugin.write_text(text.replace("1e-12", "1e-11"))
    try:
        _, err = done.call("finalize", "own", code=2)
    finally:
        plugin.write_text(text)
    assert "its code is not the code that was written down; bring back the code that the study's trials" in err
    out, _ = done.call("finalize", "own", "--networks", "2", "--trial", "0", "--json")
    [opening] = json.loads(out)["test_openings"]
    assert opening["test_accuracy"] > 0.3


def test_an_error_in_own_code_fails_its_trial_alone(tmp_path: Path, cache: Path) -> None:
    folder = Folder(tmp_path / "failing", cache)
    (folder.path / "failing.py").write_text(FAILING)
    (folder.path / "study.yaml").write_text(
        "name: failing\nsampler: {name: grid}\ndata: {name: digits, train_size: 100}\nplugins: [failing.py]\n"
        "train: {model: cnn2, width: 4, epochs: 1, loss: picky}\nsearch_space: {temper: {choices: [bad, good]}}\n"
    )
    folder.call("run", "study.yaml", "--quiet")
    trials = {trial.params["temper"]: trial for trial in folder.record("failing").trials}
    assert trials["good"].state == "COMPLETE"
    assert (trials["bad"].state, trials["bad"].reason) == ("FAIL", "error")
    assert trials["bad"].error is not None
    assert 'File "failing.py", line 7, in picky' in trials["bad"].error
    assert 'raise RuntimeError("this loss has had enough")' in trials["bad"].error
    assert trials["bad"].error.endswith("RuntimeError: this loss has had enough\n")
    config = (
        "data: {name: digits, train_size: 100}\nplugins: [failing.py]\ntrain: {model: cnn2, width: 4, loss: picky}\n"
    )
    (folder.path / "config.yaml").write_text(config)
    _, err = folder.call("train", "config.yaml", "--set", "temper=bad", "--set", "epochs=1", code=1)
    assert "cifar-tune: failing.py:7: in picky: RuntimeError: this loss has had enough" in err


@pytest.mark.parametrize(
    ("parts", "settings", "message"),
    [
        (FAILING, ("loss=picky", "temper=bad"), "failing.py:7: in picky: RuntimeError: this loss has had enough"),
        (
            "from torch import nn\nfrom cifar_tune.plugins import ModelPart\n"
            "def flat(image_shape, classes):\n"
            "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2 * classes))\n"
            'MODELS = {"flat": ModelPart(flat, "x")}\n',
            ("model=flat",),
            "model flat makes (300, 20) of 300 images; it must make one number per image and class, (300, 10)",
        ),
        (
            "import torch\nfrom cifar_tune.plugins import Part\n"
            "class Odd(torch.optim.SGD):\n"
            "    def step(self, closure=None):\n"
            '        super().step(); self.state[self.param_groups[0]["params"][0]]["odd"] = Odd\n'
            'OPTIMIZERS = {"odd": Part(Odd, "x", arguments={"lr": "lr"})}\n',
            ("optimizer=odd",),
            "no training could go on from a checkpoint: the state of model tutorial_net, optimizer odd or schedule",
        ),
        (
            "from cifar_tune.plugins import AugmentationPart\n"
            "def cut(draw):\n"
            "    return lambda images, batch: images[:, :, :16, :16]\n"
            'AUGMENTATIONS = {"cut": AugmentationPart(cut, "x", stage="inputs")}\n',
            ("augment=cut",),
            "augment cut makes (128, 3, 16, 16) of images (3, 32, 32)",
        ),
    ],
    ids=("raises", "logits", "state", "augmentation"),
)
def test_check_takes_a_step_with_own_parts(
    parts: str, settings: tuple[str, ...], message: str, here: Path, cli: Cli
) -> None:
    (here / "failing.py").write_text(parts)
    (here / "study.yaml").write_text(
        "name: failing\ndata: {name: digits, val_size: 300}\nplugins: [failing.py]\ntrain: {model: tutorial_net}\n"
        "search_space: {lr: {low: 1e-3, high: 0.1}}\n"
    )
    options = [option for setting in settings for option in ("--set", setting)]
    ended = cli("check", "study.yaml", "--devices", "cpu", *options)
    assert ended.code == 1
    assert f"cifar-tune: {message}" in ended.err


def test_the_shipped_study_is_checked(here: Path, cli: Cli) -> None:
    shutil.copytree(ROOT / "studies", here / "studies", dirs_exist_ok=True)
    out = cli("check", "studies/plugin.yaml").out
    assert out.endswith("plugin: everything is in order\n")
    assert "plugins: [studies/plugins/own_parts.py]" in out


def test_knobs_show_own_parts(here: Path, cli: Cli) -> None:
    shutil.copytree(ROOT / "studies", here / "studies", dirs_exist_ok=True)
    out = cli("knobs", "--plugins", "studies/plugins/own_parts.py").out
    assert re.search(r"^trust_ratio +float > 0 +default 0.02\n.*\n +taken by optimizer: trust_sgd$", out, re.MULTILINE)
    assert " patch_mixer " in out
    ended = cli("knobs", "--plugins", "parts.py")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("cifar-tune: --plugins: plugins[0] = 'parts.py': there is no such file")


def test_the_example_of_the_page_runs_as_it_stands(tmp_path: Path, cache: Path) -> None:
    text = (ROOT / "docs" / "plugins.md").read_text()
    folder = Folder(tmp_path / "readme", cache)
    (folder.path / "my_parts.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    (folder.path / "study.yaml").write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    folder.call("run", "study.yaml", "--quiet")
    assert folder.record("own-optimizer").counts["COMPLETE"]
    chosen = {trial.params["optimizer"] for trial in folder.record("own-optimizer").trials}
    assert "sign_momentum" in chosen


@pytest.mark.usefixtures("blank_pictures")
def test_the_metric_of_the_page_is_objective_constraint_and_column(tmp_path: Path, cache: Path) -> None:
    text = (ROOT / "docs" / "plugins.md").read_text()
    folder = Folder(tmp_path / "metric", cache)
    (folder.path / "my_metrics.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1])
    (folder.path / "study.yaml").write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    folder.call("run", "study.yaml", "--quiet")
    record = folder.record("own-metric")
    assert record.counts["COMPLETE"]
    for trial in record.trials:
        assert trial.value == trial.measures["val_kappa"][-1] == trial.metrics["val_kappa"]
        assert trial.metrics["best_val_kappa"] == max(trial.measures["val_kappa"])  # type: ignore[type-var]
        assert trial.feasible
    assert len({trial.value for trial in record.trials}) == 2
    (folder.path / "my_metrics.py").unlink()
    folder.call("export", "own-metric")
    header, first, *_ = (folder.path / "reports" / "own-metric" / "trials.csv").read_text().splitlines()
    assert repr(record.trials[0].value) in dict(zip(header.split(","), first.split(","), strict=True))["val_kappa"]
    assert "validation quadratic kappa" in (folder.path / "reports" / "own-metric" / "summary.md").read_text()
