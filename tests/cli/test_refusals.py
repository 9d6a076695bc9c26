"""Every wrong input ends with exit code 2 and a message that names what is wrong; never with a traceback."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_tune import __main__ as program

from .conftest import Cli

STUDY = """name: made
data: {name: digits, val_size: 300}
train: {model: cnn2, width: 4, epochs: 1}
search_space:
  lr: {low: 1e-3, high: 0.1, log: true}
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "quickstart.yaml").write_text(STUDY)
    (tmp_path / "wrong.yaml").write_text("name: made\ntrain:\n  epochs: 0\n  modle: cnn2\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "tag.yaml").write_text("name: !!python/name:os.system\n")
    (tmp_path / "not.db").write_bytes(b"no database at all\n" * 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run stdy.yaml", "stdy.yaml: there is no such study file (did you mean 'study.yaml'?)"),
        ("run studies/quickstrat.yaml", "there is no such study file (did you mean 'studies/quickstart.yaml'?)"),
        ("status nosuch/finals", "no study 'nosuch/finals': there is no such file yet"),
        ("run nowhere/x", "nowhere/x: there is no such study file"),
        ("run ./studies", "./studies: is a folder; name a study file in it"),
        ("run .", ".: is a folder; name a study file in it"),
        ("check /dev/zero", "/dev/zero: is a device, and no study file"),
        ("train /dev/zero", "/dev/zero: is a device, and no file"),
        (
            "run quickstart",
            "sqlite:///storage/cifar_tune.db: no study 'quickstart': there is no such file yet; `cifar-tune run` "
            "with a study file creates it (did you mean 'studies/quickstart.yaml'?)",
        ),
        ("run " + "x" * 300, "cannot be read: File name too long"),
        ("run wrong.yaml", "wrong.yaml:3: train.epochs = 0: must be a whole number >= 1 and <= 1000000"),
        ("run empty.yaml", "empty.yaml: must be a study: a mapping with at least a name, such as `name: my-study`"),
        ("run binary.yaml", "binary.yaml: is not UTF-8 text (byte 0)"),
        ("run tag.yaml", "tag.yaml:1: the tag '!!python/name:os.system' is not read; only plain values are"),
        ("run study.yaml --trials 0", "--trials: budget.trials = 0: must be a whole number >= 1"),
        ("run study.yaml --timeout soon", "--timeout: budget.timeout = 'soon': must be a duration > 0 such as 45m, 8h"),
        ("run study.yaml --timeout 0", "--timeout: budget.timeout = '0': must be a duration > 0"),
        ("run study.yaml --engine warp", "--engine = 'warp': must be local or ray"),
        ("run study.yaml --address h:1", "--address = 'h:1': is an option of --engine ray"),
        ("run study.yaml --gpus-per-worker 0.5", "--gpus-per-worker = 0.5: is an option of --engine ray"),
        ("run study.yaml --engine ray --devices cpu", "--devices = 'cpu': belongs to --engine local"),
        ("run study.yaml --engine ray --address ray://h:1", "--address = 'ray://h:1': must be host:port"),
        ("run study.yaml --workers 0", "--workers = '0': must be a whole number >= 1, or auto"),
        ("run study.yaml --workers many", "--workers = 'many': must be a whole number >= 1, or auto"),
        ("run study.yaml --set epochs", "--set = 'epochs': must be key=value, such as epochs=5 or data.root=images"),
        ("run study.yaml --set epochs=0", "--set: train.epochs = 0: must be a whole number >= 1 and <= 1000000"),
        ("run study.yaml --set lrr=1", "--set: lrr: unknown key (did you mean 'lr'?)"),
        ("run study.yaml --set lr=[1", "--set lr = '[1': the value is not valid YAML: expected ',' or ']'"),
        ("run study.yaml --storage nonsense", "--storage: is not a database URL; it must look like sqlite:///"),
        ("run study.yaml --storage sqlite://", "--storage: must name a file, such as sqlite:///storage/cifar_tune.db"),
        ("run study.yaml --storage oracle://h/d", "--storage: 'oracle' is not supported; use sqlite:///"),
        ("run made --storage sqlite:///not.db", "sqlite:///not.db: is not an SQLite database"),
        (
            "run made --storage sqlite:///studies",
            "sqlite:///studies: is a folder; name a file in it, such as sqlite:///",
        ),
        ("status --storage sqlite:////dev/null", "sqlite:////dev/null: is a device or a pipe, no file that could hold"),
        ("run study.yaml --storage sqlite:////dev/null", "sqlite:////dev/null: is a device or a pipe"),
        ("run study.yaml --storage results.db", "(did you mean 'sqlite:///results.db'?)"),
        ("check wrong.yaml", "wrong.yaml:4: train.modle: unknown key (did you mean 'model'?)"),
        ("check stdy.yaml", "(did you mean 'study.yaml'?)"),
        ("check study.yaml --set momentum=1", "--set: train.momentum = 1: must be a number >= 0 and < 1"),
        ("status x", "sqlite:///storage/cifar_tune.db: no study 'x': there is no such file yet"),
        ("watch x", "sqlite:///storage/cifar_tune.db: no study 'x': there is no such file yet"),
        ("status wrong.yaml", "wrong.yaml:3: train.epochs = 0"),
        ("status --storage sqlite:///not.db", "sqlite:///not.db: is not an SQLite database"),
        ("delete x --yes", "no study 'x': there is no such file yet"),
        ("delete stdy.yaml", "(did you mean 'study.yaml'?)"),
        ("export x", "no study 'x': there is no such file yet"),
        ("train stdy.yaml", "stdy.yaml: cannot be read: No such file or directory"),
        ("train studies", "studies: cannot be read: Is a directory"),
        ("train study.yaml", "study.yaml:1: name: belongs to a study; a configuration has only data and train"),
        ("train empty.yaml", "empty.yaml: must be a configuration: a mapping with data and train"),
        ("train study.yaml --set epochs=x", "--set: train.epochs = 'x': must be a whole number"),
    ],
)
def test_wrong_input(cli: Cli, arguments: str, message: str) -> None:
    ended = cli(*arguments.split())
    assert ended.code == 2
    assert ended.out == ""
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert all(line.startswith("cifar-tune: ") for line in ended.err.splitlines())
    assert len(set(ended.err.splitlines())) == len(ended.err.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        "check study.yaml --devices cpu --set precision=tf32",
        "check study.yaml --devices cpu --set search_space.precision.choices=[tf32,fp32]",
        "run study.yaml --devices cpu --set precision=tf32",
        "train config.yaml --device cpu --set precision=tf32",
    ],
)
def test_a_precision_that_the_device_does_not_have(cli: Cli, tmp_path: Path, arguments: str) -> None:
    (tmp_path / "config.yaml").write_text(STUDY.partition("name: made\n")[2].partition("search_space")[0])
    ended = cli(*arguments.split())
    assert ended.code == 2
    assert (
        "tf32 needs an NVIDIA GPU of compute capability 8.0 (Ampere) or later, and cpu is none: take fp32" in ended.err
    )
    assert "Traceback" not in ended.err


def test_a_message_is_one_line_per_problem_and_names_the_file(cli: Cli) -> None:
    assert cli("check", "wrong.yaml").err.splitlines() == [
        "cifar-tune: wrong.yaml:3: train.epochs = 0: must be a whole number >= 1 and <= 1000000",
        "cifar-tune: wrong.yaml:4: train.modle: unknown key (did you mean 'model'?)",
    ]


@pytest.mark.parametrize("command", ["run", "check", "status", "export", "delete"])
def test_an_empty_name_is_no_study(cli: Cli, command: str) -> None:
    ended = cli(command, "")
    assert ended.code == 2
    assert ended.err == "cifar-tune: STUDY = '': must be a study file, or the name of a study\n"


def test_a_message_that_lists_ways_on_has_a_line_for_each(cli: Cli) -> None:
    Path("study.yaml").write_text("name: listed\ndata: {name: cifar10, download: false}\n")
    lines = cli("check", "study.yaml").err.splitlines()
    assert "  - use the small data set that is embedded: data: {name: digits}" in lines
    assert not any("\\n" in line for line in lines)


@pytest.mark.parametrize("command", ["check study.yaml", "run study.yaml", "train config.yaml"])
@pytest.mark.parametrize(
    ("data", "train", "place"),
    [
        ("name: image_folder, root: nowhere", "", "1: data.root = 'nowhere': there is no such folder"),
        ("name: digits, val_size: 5", "", "1: data.val_size = 5: must be 10"),
        ("name: digits, train_size: 3", "", "1: data.train_size = 3: must be 10"),
        ("name: digits, image_size: 8", "model: vgg11", "1: data.image_size: vgg11 needs images"),
        ("name: digits, image_size: 8", "model: cnn2, precision: tf32", "2: train.precision = 'tf32': "),
    ],
)
def test_what_only_use_shows_has_its_place_in_the_file(
    cli: Cli, command: str, data: str, train: str, place: str
) -> None:
    text = f"data: {{{data}}}\ntrain: {{epochs: 1, {train}}}\n"
    Path("config.yaml").write_text(text)
    Path("study.yaml").write_text(f"{text}name: placed\n")
    ended = cli(*command.split(), "--device" if command.startswith("train") else "--devices", "cpu")
    assert ended.code == 2
    assert f"cifar-tune: {command.split()[1]}:{place}" in ended.err
    assert train or not ended.out  # a mistake in the data is not lost behind all the defaults


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        (
            "run wrong.yaml --workers 0 --engine warp",
            ["--workers = '0'", "--engine = 'warp'", "wrong.yaml:3: train.epochs", "wrong.yaml:4: train.modle"],
        ),
        ("run wrong.yaml --set lr --set bs=[ --set x", ["--set = 'lr'", "--set bs = '['", "--set = 'x'"]),
        (
            "check study.yaml --devices warp,cpu,cuda:77 --set data.name=image_folder --set data.root=nowhere",
            ["device = 'warp'", "device = 'cuda:77'", "--set: data.root = 'nowhere'"],
        ),
    ],
)
def test_mistakes_that_do_not_depend_on_each_other_are_told_together(
    cli: Cli, arguments: str, starts: list[str]
) -> None:
    ended = cli(*arguments.split())
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(f"cifar-tune: {start}")


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "bogus",
        "run",
        "run --bogus study.yaml",
        "run study.yaml extra",
        "run study.yaml --trials many",
        "check",
        "run study.yaml --trials",
        "delete",
        "export",
        "train",
        "knobs extra",
        "--bogus",
    ],
)
def test_wrong_usage(cli: Cli, arguments: str) -> None:
    ended = cli(*arguments.split())
    assert ended.code == 2
    assert "Usage: cifar-tune" in ended.err + ended.out or "requires an argument" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train study.yaml --seeds 0", "--seeds = 0: must be at least 1"),
        ("dashboard --port 99999", "--port = 99999: must be between 0 and 65535"),
        ("predict model image.png --top 0", "--top = 0: must be at least 1"),
        ("watch study --interval nan", "--interval = nan: must be at least 0.2"),
        ("run study.yaml --engine ray --gpus-per-worker 2", "--gpus-per-worker = 2.0: must be between 0 and 1"),
    ],
)
def test_numbers_out_of_bounds(cli: Cli, arguments: str, words: str) -> None:
    ended = cli(*arguments.split())
    assert (ended.code, ended.err) == (2, f"cifar-tune: {words}\n")


def test_no_option_has_bounds_that_typer_checks() -> None:
    """It would draw a box and name no value."""
    commands = (Path(__file__).parents[2] / "cifar_tune" / "cli").rglob("*.py")
    assert not [file.name for file in commands if re.search(r"Option\([^)]*\b(min|max)=", file.read_text())]


def test_nothing_is_left_behind(cli: Cli, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for arguments in ("run wrong.yaml", "run study.yaml --set lr=-1", "check wrong.yaml", "status x", "delete x --yes"):
        cli(*arguments.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_an_insight_that_fails_leaves_no_empty_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("data: {name: digits}\ntrain: {model: cnn2}\n")
    (tmp_path / "deep").mkdir()
    for arguments in ("filters best.yaml", "lr-range best.yaml", "landscape best.yaml --lrs 1e-3,2e-3"):
        for output in ("", " --output deep/er/est"):
            assert cli(*f"{arguments}{output} --device warp".split()).code == 2
    assert not (tmp_path / "reports").exists()
    assert list((tmp_path / "deep").iterdir()) == []
    (tmp_path / "file").write_text("")
    assert cli("filters", "best.yaml", "--output", "file/x").err.startswith("cifar-tune: file/x: cannot be written: ")


class Clock:
    """Stands in for the module `time`: only who sleeps sees it go on."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


def test_a_password_is_not_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR_TUNE_STORAGE", "postgresql://u:geh3im@127.0.0.1:1/d")
    monkeypatch.setattr("cifar_tune.storage.patience.time", Clock())
    for arguments in (("status",), ("status", "x"), ("delete", "x", "--yes"), ("run", "x")):
        ended = cli(*arguments)
        assert ended.code == 1
        assert ended.err.startswith("cifar-tune: postgresql+psycopg://u:***@127.0.0.1:1/d cannot be used: ")
        assert "geh3im" not in ended.err + ended.out
        *waiting, _ = ended.err.splitlines()
        assert [line.rpartition("; ")[2] for line in waiting] == ["trying again for 30 s"] * (arguments[0] == "run")
        assert "see that the server runs, and that --storage or CIFAR_TUNE_STORAGE names it rightly" in ended.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_the_dashboard_as_it_advises_is_no_error(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    study = "name: x\nbudget: {trials: 1}\ndata: {name: digits}\ntrain: {model: cnn2, width: 4, epochs: 1}\n"
    Path("study.yaml").write_text(study)
    assert cli("run", "study.yaml", "--devices", "cpu", "--quiet").code == 0
    monkeypatch.setattr(
        "cifar_tune.dashboard.serve.WSGIServer.serve_forever", lambda *_, **__: os.kill(os.getpid(), number)
    )
    ended = cli("dashboard", "--port", "0")
    assert ended.code == 0
    assert ended.err.endswith("Ctrl-C ends it\nthe dashboard has ended\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """Before anything has begun, as while modules are imported; `run` takes signals for itself afterwards."""
    monkeypatch.setattr("cifar_tune.storage.urls.storage_url", lambda _given: os.kill(os.getpid(), number))
    ended = cli("run", "study.yaml")
    assert (ended.code, ended.out, ended.err) == (130, "", "cifar-tune: interrupted\n")
    monkeypatch.setattr("sys.argv", ["cifar-tune", "finalize", "study"])
    ended = cli("finalize", "study")
    assert (ended.code, ended.err) == (130, "cifar-tune: interrupted; the same command goes on\n")


def test_an_interruption_while_the_commands_are_imported_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cifar_tune.cli.main.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "cifar-tune: interrupted\n")


def test_the_program_itself_ends_like_that(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "cifar_tune", "run", "wrong.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines()[0].startswith("cifar-tune: wrong.yaml:3: train.epochs = 0")


def test_ray_is_an_extra(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.executors.options.find_spec", lambda _name: None)
    ended = cli("run", "study.yaml", "--engine", "ray")
    assert ended.code == 2
    assert ended.err == "cifar-tune: --engine = 'ray': needs Ray: pip install 'cifar-tune[ray]'\n"


@pytest.mark.parametrize(
    ("address", "reason"), [("127.0.0.1:1", "Connection refused"), ("nowhere:port", "must be host:port")]
)
def test_a_cluster_that_is_not_there(cli: Cli, address: str, reason: str) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'cifar-tune[ray]'")
    ended = cli("run", "study.yaml", "--engine", "ray", "--address", address)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert f"--address = '{address}'" in ended.err
    assert reason in ended.err
