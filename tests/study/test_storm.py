"""A small storm of the benchmark's kind; the large one is `python -m benchmarks.faults`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE


@pytest.mark.slow
def test_a_small_storm_changes_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.faults", "--kills", "8", "--restarts", "2", "--workers", "2"]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=20 * PATIENCE, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Nothing is wrong" in ended.stdout
