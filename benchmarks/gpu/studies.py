"""Whole studies, as a user starts them: with more and more workers, checked, and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from benchmarks.gpu.setting import Clock, Setting
from benchmarks.process_tree import executors_of
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec

_WORKERS = ("auto", "4", "auto", "1", "2")


def workers(setting: Setting) -> None:
    """Seconds of the same study of about a minute with so many workers; the images are decoded before.

    The second `auto` knows how many it should be.
    """
    study = _study(setting, "workers", trials=2 if setting.small else 16, epochs=1 if setting.small else 5)
    clock = Clock(setting.seconds)
    prepare(_data(setting))  # `check` would find out how many workers there should be
    for count in ("1", "auto") if setting.small else _WORKERS:
        if clock.left <= 0:
            setting.write({"workers": count, "problem": "no time left"})
            continue
        Path(setting.folder, f"workers-{count}.db").unlink(missing_ok=True)
        url = f"sqlite:///{setting.folder}/workers-{count}.db"
        started = time.monotonic()
        ended = _run(setting, ["run", str(study), "--workers", count, *_on(setting, url)], clock.left)
        said = [line for line in (ended.stdout + ended.stderr).splitlines() if "--workers auto:" in line]
        row = {"workers": count, "seconds": round(time.monotonic() - started, 1), "exit code": ended.returncode}
        setting.write({**row, "said": said[0] if said else ""})


def check(setting: Setting) -> None:
    """How long `check` takes on the study that the README begins with, if the images are decoded."""
    study = Path(setting.root, "studies/resnet.yaml")
    content = yaml.safe_load(study.read_text())
    content["data"] = json.loads(setting.data(500 if setting.small else 45_000, 100).model_dump_json(exclude_none=True))
    copy = Path(setting.folder, "resnet.yaml")
    copy.write_text(yaml.safe_dump(content))
    clock = Clock(setting.seconds)
    for time_of in ("first", "second"):
        started = time.monotonic()
        ended = _run(setting, ["check", str(copy), "--devices", setting.device], clock.left)
        last = ended.stdout.strip().splitlines()[-1] if ended.stdout.strip() else ended.stderr.strip()[-200:]
        seconds = round(time.monotonic() - started, 1)
        setting.write({"check": time_of, "seconds": seconds, "exit code": ended.returncode, "last line": last})
        if setting.small:
            break


def kills(setting: Setting) -> None:
    """An executor is killed in mid-training; then the whole run, which is started again: nothing may be lost."""
    trials = 2 if setting.small else 4
    study = _study(setting, "kills", trials=trials, epochs=4)
    clock = Clock(setting.seconds)
    url = f"sqlite:///{setting.folder}/kills.db"
    command = ["run", str(study), *_on(setting, url)]
    run = _started(setting, command)
    try:
        first = _wait_for_a_checkpoint(setting, clock, 0)
        victims = executors_of(run.pid)
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        setting.write({"what": "executors killed by SIGKILL", "count": len(victims)})
        _wait_for_a_checkpoint(setting, clock, first)  # written by the new executor
    finally:
        run.kill()
        run.wait()
    ended = _run(setting, command, clock.left)
    state = _run(setting, ["status", "kills", "--storage", url], clock.left).stdout
    line = next((line for line in state.splitlines() if "trial" in line), state.strip())
    setting.write({"what": f"run killed, then started again: exit code {ended.returncode}", "status": line.strip()})


def _wait_for_a_checkpoint(setting: Setting, clock: Clock, since: int) -> int:
    """Until a trial has written one after `since`, in nanoseconds of the files' clock; returns when that was."""
    while True:
        written = [file.stat().st_mtime_ns for file in Path(setting.folder).rglob("*.pt")]
        if max(written, default=0) > since:
            return max(written)
        if clock.left <= 0:
            output = Path(setting.folder, "output.txt").read_text()
            raise TimeoutError(f"no epoch was finished in time: {output[-300:]}")
        time.sleep(0.02)


def _study(setting: Setting, name: str, trials: int, epochs: int) -> Path:
    data = _data(setting)
    study = {
        "name": name,
        "budget": {"trials": trials},
        "sampler": {"name": "random", "seed": 0},
        "data": json.loads(data.model_dump_json(exclude_none=True)),
        "train": {
            "model": "tutorial_net" if setting.small else "resnet18",
            **({} if setting.small else {"width": 32}),
            "epochs": epochs,
        },
        "search_space": {"lr": {"low": 0.001, "high": 0.1, "log": True}},
    }
    path = Path(setting.folder, f"{name}.yaml")
    path.write_text(yaml.safe_dump(study))
    return path


def _data(setting: Setting) -> DataSpec:
    return setting.data(256 if setting.small else 10_000, 64 if setting.small else 2_000)


def _on(setting: Setting, url: str) -> list[str]:
    return ["--devices", setting.device, "--storage", url]


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "cifar_tune", *arguments]


def _run(setting: Setting, arguments: list[str], seconds: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        _command(arguments),
        cwd=setting.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=max(1.0, seconds),
    )


def _started(setting: Setting, arguments: list[str]) -> "subprocess.Popen[bytes]":
    with Path(setting.folder, "output.txt").open("wb") as output:
        return subprocess.Popen(_command(arguments), cwd=setting.folder, stdout=output, stderr=subprocess.STDOUT)
