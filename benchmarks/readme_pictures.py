"""The two pictures of the README, from a real study of digits: `python -m benchmarks.readme_pictures`, a few minutes.

It needs chromium and chromedriver. The study is `studies/quickstart.yaml` with 60 trials and two workers; with two, the
order in which trials end decides what is suggested next, so every run looks a little different.
"""

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from sqlalchemy.engine import make_url

from cifar_tune.cli.watch_frame import frame
from cifar_tune.storage.overview import overview
from cifar_tune.storage.rdb import close, open_existing
from cifar_tune.storage.records import load_record
from cifar_tune.study.live import live

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 150_000
_STUDY = ROOT / "studies" / "quickstart.yaml"
_TRIALS = 60
_SHOWN_AT = 30  # finished trials when the terminal is pictured
_WIDTH = 1080


def main() -> None:
    """Run the study, picture the terminal in the middle of it and the report at its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/studies.db"
        environment = os.environ | {"CIFAR_TUNE_STORAGE": url, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "cifar_tune"]
        run = subprocess.Popen(
            [*command, "run", str(_STUDY), "--trials", str(_TRIALS), "--workers", "2", "--quiet"],
            cwd=folder,
            env=environment,
        )
        terminal = _terminal(url, run)
        if run.wait() != 0:
            sys.exit("the study did not run to its end")
        subprocess.run([*command, "export", "quickstart"], cwd=folder, env=environment, check=True)
        browser = _browser(folder / "profile")
        try:
            (folder / "terminal.svg").write_text(terminal, encoding="utf-8")
            page = folder / "terminal.html"
            page.write_text('<body style="margin: 0"><img src="terminal.svg" width="1000"></body>', encoding="utf-8")
            _save(_element(browser, page, "img", 1000), PICTURES / "terminal.png", 860)
            _save(_page(browser, folder / "reports" / "quickstart" / "report.html"), PICTURES / "report.png", 720)
        finally:
            browser.quit()


def _terminal(url: str, run: "subprocess.Popen[bytes]") -> str:
    """What `watch` shows in the middle of the study, as SVG."""
    newest = ""
    while run.poll() is None:
        time.sleep(0.5)
        storage = open_existing(make_url(url))
        if storage is None:
            continue
        if "quickstart" in [study.study_name for study in storage.get_all_studies()]:
            record = load_record(storage, "quickstart")
            epochs = [trial.epochs for trial in record.trials if trial.state == "RUNNING"]
            if record.finished >= _SHOWN_AT and len(epochs) > 1 and min(epochs) > 1:
                console = Console(
                    record=True, width=112, file=StringIO(), force_terminal=True, color_system="truecolor"
                )
                console.print(frame(live(storage, overview(storage, "quickstart", 5))))
                newest = console.export_svg(title="cifar-tune watch quickstart", theme=MONOKAI)
        close(storage)
        if newest:
            break
    return newest


def _browser(profile: Path) -> Chrome:
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return Chrome(options=options, service=Service(shutil.which("chromedriver")))


def _open(browser: Chrome, file: Path, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1.5, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(file.as_uri())


def _element(browser: Chrome, file: Path, selector: str, width: int) -> Image.Image:
    _open(browser, file, width)
    return _clip(browser, f"document.querySelector('{selector}').getBoundingClientRect()", 0, width)


def _page(browser: Chrome, file: Path) -> Image.Image:
    """The head of the report, and its pictures from the course to the contours: the long configuration is left out."""
    _open(browser, file, _WIDTH)
    head = _clip(browser, "document.querySelector('header').getBoundingClientRect()", 14, _WIDTH)
    body = _clip(browser, "(() => { const first = document.querySelector('#course').getBoundingClientRect(), "
                 "last = document.querySelector('#slices').getBoundingClientRect(); "
                 "return {top: first.top, height: last.bottom - first.top}; })()", 0, _WIDTH)  # fmt: skip
    whole = Image.new("RGB", (head.width, head.height + body.height), "white")
    whole.paste(head, (0, 0))
    whole.paste(body, (0, head.height))
    return whole


def _clip(browser: Chrome, place: str, margin: int, width: int) -> Image.Image:
    box: dict[str, Any] = browser.execute_script(
        f"const box = {place}; return {{y: box.top + scrollY, height: box.height}}"
    )
    clip = {"x": 0, "y": max(box["y"] - margin, 0), "width": width, "height": box["height"] + 2 * margin, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return Image.open(BytesIO(base64.b64decode(shot["data"]))).convert("RGB")


def _save(picture: Image.Image, file: Path, width: int) -> None:
    """As PNG with a palette, small enough for a repository."""
    small = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    small.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
    size = file.stat().st_size
    print(f"{file}: {size:,} bytes")
    if size > MOST_BYTES:
        sys.exit(f"{file} is larger than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
