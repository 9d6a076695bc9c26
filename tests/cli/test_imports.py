"""Commands that do not train start at once: they leave torch and scikit-learn alone."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from cifar_tune.cli.main import main
for command in sys.argv[1:]:
    sys.argv = ["cifar-tune", *command.split()]
    try:
        main()
    except SystemExit as ended:
        heavy = {"torch", "torchvision", "optuna_dashboard", "sklearn"} & set(sys.modules)
        print(f"ENDED {command}: {ended.code or 0} {sorted(heavy)}", file=sys.stderr)
"""
COMMANDS = {
    "--help": 0,
    "knobs --json": 0,
    "status": 0,
    "export absent": 2,
    "delete absent --yes": 2,
    "submit wrong.yaml": 2,
    "queue": 0,
    "finalize absent": 2,
    "check wrong.yaml": 2,
    "lr-range wrong.yaml": 2,
    "landscape wrong.yaml": 2,
    "filters wrong.yaml": 2,
    "predict absent photo.png": 2,
    "layers wrong.yaml": 2,
    "convert absent --to onnx": 2,
}


def test_torch_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("name: x\ntrain: {epochs: 0}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CIFAR_TUNE_")}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, *COMMANDS],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line for line in ended.stderr.splitlines() if line.startswith("ENDED ")]
    assert said == [f"ENDED {command}: {code} []" for command, code in COMMANDS.items()]
