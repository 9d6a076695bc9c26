import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cifar_tune.reports.page.anchors import MOST_ROWS
from cifar_tune.reports.page.curves import parts_below
from cifar_tune.reports.page.page import report_html
from cifar_tune.reports.report import Report
from tests.reports.factory import MadeTrial, make_record, make_spec, random_trials

from .studies import CASES, HOSTILE, made, page_of

VOID = {"meta", "link", "br", "img", "wbr"}


class Page(HTMLParser):
    """Checks that elements are closed in their order, and keeps what they are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def page(name: str) -> Page:
    return Page(page_of(name))


@pytest.mark.parametrize("name", CASES)
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
    assert report_html(Report(made("thirty trials")), Path("reports/made")) == page_of("thirty trials")


@pytest.mark.slow
def test_long_studies_stay_light_and_say_what_they_leave_out() -> None:
    spec = make_spec(train={"epochs": 6})
    text = report_html(Report(make_record(spec, random_trials(spec, 10_000))), Path("x"))
    shown = Page(text)
    assert len(text) < 2_500_000
    rows = [attrs for attrs in shown.all("tr") if str(attrs.get("id")).startswith("trial-")]
    assert len(rows) == MOST_ROWS
    assert f"{MOST_ROWS:,} of 10,000" in shown.text
    targets = {f"#{row['id']}" for row in rows}
    assert {link["href"] for link in shown.all("a") if str(link["href"]).startswith("#trial-")} <= targets


def test_a_large_objective_that_is_always_the_same() -> None:
    """Its contours have no levels to tell apart, which is no reason to write nothing."""
    space = {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True}}
    spec = make_spec(space, train={"epochs": 2}, objective=[{"metric": "flops"}, {"metric": "val_accuracy"}])
    figures, history = {"val_accuracy": 0.5, "flops": 4e8}, {"val_accuracy": [0.4, 0.5]}
    searched = [{"lr": 0.001 * (n + 1), "weight_decay": 1e-5 * (n + 1)} for n in range(60)]
    trials = [MadeTrial(each, 4e8, figures=figures, history=history) for each in searched]
    assert "Two knobs at a time" in report_html(Report(make_record(spec, trials)), Path("x"))


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


def test_a_line_that_leaves_the_picture_is_cut_where_it_leaves_it() -> None:
    points = [(1.0, 9.0), (2.0, 5.0), (3.0, 1.0), (4.0, 2.0), (5.0, 4.0), (6.0, 4.0), (7.0, 0.0)]
    assert parts_below(points, 3.0) == [
        [(2.5, 3.0), (3.0, 1.0), (4.0, 2.0), (4.5, 3.0)],
        [(6.25, 3.0), (7.0, 0.0)],
    ]
    assert parts_below(points, 10.0) == [points]
    assert parts_below(points[:2], 3.0) == []


def test_a_trial_of_one_epoch_is_a_ring() -> None:
    spec = make_spec({"lr": {"low": 1e-4, "high": 1.0, "log": True}}, train={"epochs": 5})
    stopped = [MadeTrial({"lr": 0.1}, 0.3, "PRUNED", epochs) for epochs in (1, 3)]
    text = report_html(Report(make_record(spec, [MadeTrial({"lr": 0.1}, 0.5), *stopped])), Path("reports/made"))
    drawn = re.findall(r'class="curve val pruned-curve" d="([^"]*)"', text)
    assert len(drawn) == 4
    assert ["a" in each for each in drawn] == [False, True] * 2  # the last one first


def test_known_objectives_of_trials_without_values_stand_in_the_table_once() -> None:
    spec = make_spec(
        {"width": {"choices": [8, 32]}},
        train={"epochs": 4},
        objective=[{"metric": "val_accuracy"}, {"metric": "parameters"}],
        constraints=["parameters <= 50000"],
    )
    large = MadeTrial({"width": 32}, None, "PRUNED", 0, "infeasible", figures={"parameters": 90_000})
    trials = [MadeTrial({"width": 8}, 0.5, epochs=4, figures={"parameters": 40_000}), large]
    text = report_html(Report(make_record(spec, trials)), Path("reports/made"))
    table = text[text.index('<section id="trials">') :]
    assert table[: table.index("</thead>")].count("parameters") == 1
    assert re.findall(r"<td[^>]*>([^<]*)</td>", table[table.index('id="trial-1"') :])[2:4] == ["-", "90,000"]
