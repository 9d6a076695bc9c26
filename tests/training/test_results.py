"""What an epoch gave."""

import json
import subprocess
import sys

from cifar_tune.training.results import EpochResult

RESULT = EpochResult(epoch=3, train_loss=0.5, train_accuracy=0.75, val_loss=0.6, val_accuracy=0.7, lr=0.01, seconds=1.5)


def test_survives_json() -> None:
    assert EpochResult.from_dict(json.loads(json.dumps(RESULT.as_dict()))) == RESULT


def test_needs_no_torch() -> None:
    program = "import sys, cifar_tune.training.results; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
