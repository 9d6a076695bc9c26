"""Stands in for the process that runs a submission: it holds devices, hears wishes and does what a test orders.

It imports neither torch nor Optuna, so it starts in a moment. `python stand_in.py NUMBER DEVICES FOLDER`: in FOLDER lie
the orders, `STUDY.order`: `epoch` (write one more), `die`, `end CODE`. While `STUDY.hold` is there, it gives nothing
up. It writes the devices that it holds into `STUDY.devices`.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from cifar_tune.service import submissions
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.wishes import read_wish


def main() -> None:
    """Run a submission."""
    number, devices, folder = int(sys.argv[1]), sys.argv[2].split(","), Path(sys.argv[3])
    is_asked = []
    signal.signal(signal.SIGTERM, lambda *_: is_asked.append(True))
    engine = create_engine(os.environ["CIFAR_TUNE_STORAGE"])
    with engine.connect() as connection:
        study = submissions.read(connection, number).study
    print(f"{study} runs on {','.join(devices)}", flush=True)
    lease = acquire(engine, study)
    key = _study(engine, study)
    with (folder / f"{study}.starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    while not is_asked:
        wish = read_wish(engine, study, lease.token)
        if wish is not None and wish.park:
            break
        if wish is not None and wish.devices is not None and not (folder / f"{study}.hold").exists():
            devices = list(wish.devices)
        _run_trials(engine, key, len(devices))
        _write(folder / f"{study}.devices", ",".join(devices))
        match _order(folder / f"{study}.order"):
            case ["epoch"]:
                _write_epoch(engine, key)
            case ["die"]:
                print("something terrible", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            case ["end", code]:
                _finish(engine, number, lease, key, int(code))
        time.sleep(0.05)
    _finish(engine, number, lease, key, 130)


def _finish(engine: Engine, number: int, lease: object, key: int, code: int) -> None:
    _run_trials(engine, key, 0)
    lease.release()  # type: ignore[attr-defined]
    with engine.begin() as connection:
        submissions.end(connection, number, code, f"ended with {code}")
    sys.exit(code)


def _order(file: Path) -> list[str]:
    with suppress(FileNotFoundError):
        order = file.read_text().split()
        file.unlink()
        return order
    return []


def _write(file: Path, content: str) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_text(content)
    part.replace(file)


def _study(engine: Engine, name: str) -> int:
    with engine.begin() as connection:
        find = text("SELECT study_id FROM studies WHERE study_name = :name")
        if (found := connection.execute(find, {"name": name}).scalar()) is None:
            connection.execute(text("INSERT INTO studies (study_name) VALUES (:name)"), {"name": name})
            found = connection.execute(find, {"name": name}).scalar_one()
        return int(found)


def _run_trials(engine: Engine, study: int, count: int) -> None:
    """Have so many trials in the state RUNNING."""
    of_study = {"study": study}
    with engine.begin() as connection:
        running = "SELECT trial_id FROM trials WHERE study_id = :study AND state = 'RUNNING' ORDER BY trial_id"
        found = list(connection.execute(text(running), of_study).scalars())
        for trial in found[count:]:
            connection.execute(text("UPDATE trials SET state = 'WAITING' WHERE trial_id = :trial"), {"trial": trial})
        for _ in range(count - len(found)):
            add = "INSERT INTO trials (study_id, number, state) VALUES (:study, 0, 'RUNNING')"
            connection.execute(text(add), of_study)


def _write_epoch(engine: Engine, study: int) -> None:
    with engine.begin() as connection:
        find = text("SELECT min(trial_id) FROM trials WHERE study_id = :study")
        trial = connection.execute(find, {"study": study}).scalar_one()
        last = text("SELECT coalesce(max(step), 0) FROM trial_intermediate_values WHERE trial_id = :trial")
        step = connection.execute(last, {"trial": trial}).scalar_one() + 1
        add = (
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
            "VALUES (:trial, :step, 0.5, 'FINITE')"
        )
        connection.execute(text(add), {"trial": trial, "step": step})


if __name__ == "__main__":
    main()
