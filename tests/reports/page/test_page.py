"""The page as a text, and in a real Chromium, from disk: both in one file, since pages take longer than their tests."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cifar_tune.reports.conditions import BEST_SENTENCE, shared_first
from cifar_tune.reports.importance_chance import Spread
from cifar_tune.reports.importances import Importances, share_words
from cifar_tune.reports.page.bars import importance_bars
from cifar_tune.reports.page.page import report_html
from cifar_tune.reports.report import Report
from tests.browser import chromium
from tests.exhaustive import few_of
from tests.reports.factory import MadeTrial, make_record, make_spec

from .parsed import Page, page
from .studies import CASES, HOSTILE, made, page_of


@pytest.mark.parametrize("name", few_of(CASES, ["no trial", "thirty trials", "three objectives", "tested"]))
def test_every_study_has_a_whole_page_that_loads_nothing(name: str) -> None:
    shown = page(name)
    ids = [attrs["id"] for _, attrs in shown.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for link in shown.all("a"):
        target = link["href"] or ""
        assert target.removeprefix("#") in ids or target in ("best.yaml", "epochs.csv", "trials.csv"), target
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in shown.all("img"))
    assert len(shown.all("img")) == (24 if name.startswith("tested") else 0)
    assert [link["href"] for link in shown.all("link")] == ["data:,"]
    assert all("src" not in script for script in shown.all("script"))
    assert not any(key.startswith("on") or key == "style" for _, attrs in shown.tags for key in attrs)
    for _, attrs in shown.tags:
        assert not re.search(r"\b(nan|inf)\b", f"{attrs.get('d', '')} {attrs.get('x', '')} {attrs.get('y', '')}")


def test_a_whole_study_shows_all_its_parts() -> None:
    shown = page("two objectives")
    sections = {attrs.get("id") for attrs in shown.all("section")}
    names = "best course front importance slices tables curves ended time trials circumstances"
    assert sections >= set(names.split())
    assert "cifar-tune train reports/made/best.yaml" in shown.text
    assert "ab" * 32 in shown.text
    assert "in 90 of 100 resamples of these trials" in shown.text
    assert "what chance gives: in 95 % of 100 shuffles of the values" in shown.text
    assert "59 completed trials against all of them; 2 more, which break a constraint, are left out" in shown.text


def test_the_test_set_comes_before_the_validation_split() -> None:
    text = page("tested").text
    assert text.index("test accuracy, 95 % interval") < text.index("validation accuracy of the last epoch")
    assert "Test set" in text[: text.index("Best configuration")]
    assert "The test set was opened" not in text[: text.index("Test set")]
    assert "The test set was opened 3 times. A choice" in page("tested three times").text


def test_the_best_value_stands_with_every_digit() -> None:
    record = made("thirty trials")
    best = record.best
    assert best is not None
    assert f"val_accuracy = {best.value!r}" in page("thirty trials").text


def test_texts_of_a_study_never_become_a_part_of_the_page() -> None:
    record = made("all failed")
    trials = [replace(trial, device=HOSTILE, reason="error", error=HOSTILE) for trial in record.trials]
    hostile = replace(
        record, name=HOSTILE, environment={HOSTILE: HOSTILE}, data={"fingerprint": HOSTILE, "classes": [HOSTILE]},
        trials=trials,
    )  # fmt: skip
    text = report_html(Report(hostile), Path(f"reports/{HOSTILE}"))
    shown = Page(text)
    assert len(shown.all("script")) == 1
    assert not shown.all("img")
    assert HOSTILE in shown.text
    assert "<script>window" not in text


def test_the_policy_allows_the_one_script_alone() -> None:
    shown = page("one trial")
    policy = next(meta["content"] for meta in shown.all("meta") if meta.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_the_same_study_gives_the_same_page() -> None:
    again = made.__wrapped__("thirty trials")
    assert report_html(Report(again), Path("reports/made")) == page_of("thirty trials")


def test_trials_drawn_at_the_end_of_an_axis_are_counted() -> None:
    losses = [*(0.5 + 0.01 * n for n in range(20)), 40.0, 50.0]
    trials = [MadeTrial({"lr": 0.01 * (n + 1)}, loss, epochs=2) for n, loss in enumerate(losses)]
    trials.append(MadeTrial({"lr": 0.5}, None, "RUNNING", 1, history={"val_loss": [60.0]}))
    spec = make_spec(
        {"lr": {"low": 1e-4, "high": 1.0, "log": True}}, train={"epochs": 2}, objective={"metric": "val_loss"}
    )
    text = report_html(Report(make_record(spec, trials)), Path("x"))
    course, slices = text.split('id="course"')[1].split('id="importance"')[0], text.split('id="slices"')[1]
    assert "3 trials lie above the axis, drawn at its end." in course
    assert "2 trials lie above the axis, drawn at its end." in slices
    assert "above the axis" not in page_of("thirty trials")


def test_few_curves_have_colours_and_labels_and_the_others_are_faint() -> None:
    report = Report(made("thirty trials"))
    section = page_of("thirty trials").split('<section id="curves">')[1].split('<ul class="legend"')[0]
    pictures = section.split('<div class="')[1:]
    assert len(pictures) == 4
    for picture in pictures:
        kinds = Counter(re.findall(r'<path class="curve ([^"]*)"', picture))
        assert kinds["train s0"] == kinds["val s0"] == kinds["val s1"] == kinds["val s2"] == 1
        assert kinds["val other-curve"] == len(report.ranked) - 3
        assert kinds["val pruned-curve"] == len(report.pruned)
        labels = re.findall(r'<text class="name[^>]*>([^<]*)</text>', picture)
        assert sorted(labels) == sorted(f"trial {t.number}: {report.scale.shown(t.value)}" for t in report.ranked[:3])


def test_the_share_of_a_knob_stands_beside_its_name() -> None:
    report = Report(made("thirty trials"))
    found = report.importances
    assert isinstance(found, Importances)
    section = page_of("thirty trials").split('<section id="importance">')[1].split("</section>")[0]
    texts = re.findall(r'<text class="label" x="0"[^>]*>(\w+) <tspan class="share"[^>]*>([^<]*)</tspan>', section)
    assert [(name, unescape(share)) for name, share in texts] == [
        (name, share_words(share)) for name, share in found.shares.items()
    ]
    assert section.count("<text") == len(found.shares)  # and nowhere else


def test_an_interval_above_nothing_does_not_end_at_nothing() -> None:
    report = Report(made("thirty trials"))
    found = report.importances
    assert isinstance(found, Importances)
    spread = Spread(dict.fromkeys(found.shares, (0.001, 0.004)), 100, 30, 30)
    bars = importance_bars(report, found, spread, None)
    assert bars.count(">0 to 1 %<") == 2 * len(found.shares)
    assert "0 to 0 %" not in bars


def test_one_trial_has_no_tick_beside_it() -> None:
    section = page_of("one trial").split('<section id="course">')[1].split("</figure>")[0]
    assert re.findall(r'<text class="tick mid"[^>]*>([^<]*)<', section) == ["0", "0"]  # wide and narrow


def test_slices_say_how_many_trials_they_show() -> None:
    report = Report(made("thirty trials"))
    section = page_of("thirty trials").split('<section id="slices">')[1].split("<h3>")[0]
    knobs = sorted(report.knobs, key=lambda knob: -report.importances.shares[knob.name])  # type: ignore[union-attr]
    for knob, picture in zip(knobs, section.split("<figure>")[1:], strict=True):
        completed, pruned = (
            [t for t in trials if knob.name in t.params] for trials in (report.completed, report.pruned)
        )
        assert f"n = {len(completed)} completed, {len(pruned)} pruned<" in picture
        counts = [int(each) for each in re.findall(r">n=(\d+)<", picture)]
        wanted = [sum(knob.position(t) == at for t in completed) for at in range(len(knob.levels or ()))]
        assert counts == wanted


def test_what_is_true_of_all_tables_is_said_once() -> None:
    section = page("thirty trials").text.split("One-factor tables")[-1]
    for sentence in ("Means have no intervals", "Not under equal conditions: the other knobs varied at the same time"):
        assert section.count(sentence) == 1
    several = [["all", "own", BEST_SENTENCE], ["all", BEST_SENTENCE], ["all", "another"]]
    assert shared_first(several) == (["all", BEST_SENTENCE], [["own"], [], ["another"]])
    assert shared_first([["all", "own"]]) == ([], [["all", "own"]])


def test_the_table_marks_the_best_and_holds_every_digit() -> None:
    for name, marked in (("thirty trials", {made("thirty trials").best.number}), ("two objectives", None)):  # type: ignore[union-attr]
        report = Report(made(name))
        section = page_of(name).split('<section id="trials">')[1]
        found = {int(each) for each in re.findall(r'<tr id="trial-(\d+)" class="best">', section)}
        assert found == (marked or {trial.number for trial in report.front})
        best = report.ranked[0]
        row = section.split(f'id="trial-{best.number}"')[1].split("</tr>")[0]
        assert f'title="{best.value!r}"' in row
        assert f'title="{best.params["lr"]!r}"' in row


def test_each_objective_has_slices() -> None:
    section = page_of("three objectives").split('<section id="slices">')[1].split("Two knobs at a time")[0]
    heads = re.findall(r"<h3><code>(\w+)</code></h3>", section)
    assert heads == ["val_accuracy", "flops", "seconds_per_epoch"]
    assert section.count("<figure>") == 3 * len(Report(made("three objectives")).knobs)
    for label in ("multiply-adds of one image against lr", "seconds per epoch against lr"):
        assert f'aria-label="{label}"' in section


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


def show(browser: Chrome, text: str, folder: Path, width: int, scheme: str) -> str:
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    look_at(browser, width, scheme)
    console(browser, "browser")
    console(browser, "performance")
    browser.get(file.as_uri())
    return file.as_uri()


def look_at(browser: Chrome, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def console(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    return browser.get_log(kind)  # type: ignore[no-untyped-call, no-any-return]


def requests(browser: Chrome) -> set[str]:
    messages: list[dict[str, Any]] = [
        json.loads(entry["message"])["message"] for entry in console(browser, "performance")
    ]
    return {each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"}


@pytest.mark.browser
@pytest.mark.parametrize(
    "name",
    few_of(
        ["one trial", "thirty trials", "more trials than rows", "all pruned", "two objectives", "tested",
         "tested three times"],
        ["thirty trials", "two objectives", "tested"],
    ),
)  # fmt: skip
def test_it_fits_and_asks_nobody(browser: Chrome, name: str, tmp_path: Path) -> None:
    address = show(browser, page_of(name), tmp_path, 1280, "light")
    fits(browser, name, 1280, "rgb(255, 255, 255)")
    look_at(browser, 375, "dark")
    fits(browser, name, 375, "rgb(21, 24, 28)")
    assert console(browser, "browser") == []
    assert {url for url in requests(browser) if not url.startswith("data:")} == {address}


def fits(browser: Chrome, name: str, width: int, wanted_background: str) -> None:
    seen = browser.execute_script("return [document.documentElement.clientWidth, document.documentElement.scrollWidth]")
    assert width - 20 < seen[0] == seen[1]
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == wanted_background
    if name.startswith("tested"):  # without scrolling sideways anywhere
        right = "element => element.getBoundingClientRect().right > document.documentElement.clientWidth"
        beyond = f"return [...document.querySelectorAll('#test *')].filter({right}).length"
        assert browser.execute_script(beyond) == 0
    # no text smaller than can be read, wherever a picture is squeezed
    smallest = browser.execute_script(
        "return Math.min(...[...document.querySelectorAll('figure svg text')].filter(t => t.getClientRects().length)"
        ".map(t => parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getScreenCTM().a), 99)"
    )
    assert smallest > 7


@pytest.mark.browser
@pytest.mark.parametrize("name", ["thirty trials", "two objectives"])
def test_it_prints_whole_and_on_white(browser: Chrome, name: str, tmp_path: Path) -> None:
    show(browser, page_of(name), tmp_path, 720, "dark")
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
    style = "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
    assert browser.execute_script(style) == ["rgb(255, 255, 255)", "rgb(35, 39, 46)"]
    ends = "return [...document.querySelectorAll('table, pre, figure')].map(e => e.getBoundingClientRect().right)"
    assert max(browser.execute_script(ends)) <= 720
    for element in ("button:not(.sort)", "nav"):
        assert not any(each.is_displayed() for each in browser.find_elements(By.CSS_SELECTOR, element))
    closed = "return document.querySelector('#tables details:not([open]) table').checkVisibility()"
    assert browser.execute_script(closed)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


@pytest.mark.browser
def test_the_best_fifty_trials_are_printed(browser: Chrome, tmp_path: Path) -> None:
    report = Report(made("two objectives"))
    show(browser, page_of("two objectives"), tmp_path, 720, "light")
    listed = "return [...document.querySelectorAll('#trials tbody tr')].filter(e => e.checkVisibility()).map(e => e.id)"
    note = "return document.querySelector('.in-print').checkVisibility()"
    assert len(browser.execute_script(listed)) == 120
    assert not browser.execute_script(note)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    printed = browser.execute_script(listed)
    assert len(printed) == 50
    assert {f"trial-{trial.number}" for trial in (*report.front, *report.ranked[:40])} <= set(printed)
    assert browser.execute_script(note)
    assert "Printed here: the best 50." in browser.find_element(By.ID, "trials").text
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


@pytest.mark.browser
def test_on_a_telephone_the_button_covers_nothing(browser: Chrome, tmp_path: Path) -> None:
    show(browser, page_of("thirty trials"), tmp_path, 375, "light")
    for name in ("command", "configuration"):
        button = browser.find_element(By.CSS_SELECTOR, f"button[data-copy={name}]").rect
        assert button["y"] + button["height"] <= browser.find_element(By.ID, name).rect["y"]


@pytest.mark.browser
def test_the_copy_button_copies(browser: Chrome, tmp_path: Path) -> None:
    show(browser, page_of("thirty trials"), tmp_path, 1280, "light")
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    for wanted, start in (("command", "cifar-tune train reports/made/best.yaml"), ("configuration", "# The best")):
        button = browser.find_element(By.CSS_SELECTOR, f"button[data-copy={wanted}]")
        assert button.is_displayed()
        button.click()
        copied = browser.execute_async_script("navigator.clipboard.readText().then(arguments[0], arguments[0])")
        assert str(copied).startswith(start)
        assert button.text == "Copied"


@pytest.mark.browser
def test_the_trials_are_sorted_by_a_heading_and_copied_with_every_digit(browser: Chrome, tmp_path: Path) -> None:
    show(browser, page_of("thirty trials"), tmp_path, 1280, "light")
    report = Report(made("thirty trials"))
    order = "return [...document.querySelectorAll('#trials tbody tr')].map(row => Number(row.id.slice(6)))"
    heads = {
        str(each.get_property("textContent")): each
        for each in browser.find_elements(By.CSS_SELECTOR, "#trials th .sort")
    }
    heads["val_accuracy"].click()
    ended = [t for t in report.record.trials if t.value is not None]
    ranked = sorted(ended, key=lambda trial: -(trial.value or 0.0))
    assert browser.execute_script(order)[: len(ranked)] == [trial.number for trial in ranked]  # those without one last
    heads["val_accuracy"].send_keys(Keys.ENTER)
    assert browser.execute_script(order)[: len(ranked)] == [trial.number for trial in ranked[::-1]]
    states = "return [...document.querySelectorAll('#trials [aria-sort]')].map(head => head.getAttribute('aria-sort'))"
    assert browser.execute_script(states) == ["ascending"]
    trials = report.record.trials
    figures: dict[str, list[Any]] = {
        "time": [trial.seconds for trial in trials],
        "batch_size": [trial.params["batch_size"] for trial in trials],
    }
    for name, each in figures.items():
        heads[name].send_keys(Keys.SPACE)
        assert [each[number] for number in browser.execute_script(order)] == sorted(each)
    copied = """
        getSelection().selectAllChildren(document.querySelector("#trials tbody"));
        const data = new DataTransfer();
        const event = new ClipboardEvent("copy", {clipboardData: data, bubbles: true, cancelable: true});
        document.querySelector("#trials td").dispatchEvent(event);
        return data.getData("text/plain");
    """
    lines = [line.split("\t") for line in str(browser.execute_script(copied)).split("\n")]
    assert len(lines) == 30
    best = report.ranked[0]
    assert any(repr(best.value) in line and repr(best.params["lr"]) in line for line in lines)


@pytest.mark.browser
def test_a_dot_leads_to_its_trial(browser: Chrome, tmp_path: Path) -> None:
    show(browser, page_of("thirty trials"), tmp_path, 1280, "light")
    dot = browser.find_element(By.CSS_SELECTOR, "#course .wide a")
    target = (dot.get_dom_attribute("href") or "").removeprefix("#")
    browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", dot)
    assert browser.execute_script("return document.querySelector(':target').id") == target
