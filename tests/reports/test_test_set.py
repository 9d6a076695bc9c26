"""What the report says of openings of the test split."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from cifar_tune import __version__
from cifar_tune.cli.opening_lines import kept_lines, result_lines
from cifar_tune.errors import UserError
from cifar_tune.model_files.description import Origin
from cifar_tune.reports.export import export
from cifar_tune.reports.page.page import report_html
from cifar_tune.reports.pictures import pictures_of
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_json import summary_json
from cifar_tune.reports.test_pictures import draw_classes
from cifar_tune.reports.tested import result_words
from cifar_tune.reports.tested import test_set as section
from cifar_tune.reports.trust import fall, trust_words
from cifar_tune.storage.openings import Opening, read_openings, write_opening
from cifar_tune.storage.records import StudyRecord, load_record
from tests.conftest import leave_pictures_blank

from .factory import OPENING, RESULT, MadeTrial, analysed_opening, make_record, make_spec

SPACE = {"lr": {"low": 0.01, "high": 1.0}}


def opened(*openings: Opening, values: tuple[float, ...] = (0.8,)) -> StudyRecord:
    trials = [MadeTrial({"lr": 0.1}, value, epochs=15) for value in values]
    record = make_record(make_spec(SPACE), trials)
    for index, opening in enumerate(openings):
        write_opening(record.study, index, opening)
    return load_record(record.study._storage, record.name)


def test_openings_are_read_as_they_were_written() -> None:
    record = opened(RESULT, OPENING, RESULT)
    assert list(record.openings) == [RESULT, OPENING, RESULT]
    write_opening(record.study, 2, None)
    assert read_openings(record.study.user_attrs) == [RESULT, OPENING]
    assert read_openings({}) == []


def test_a_test_set_that_was_not_opened_has_no_section() -> None:
    assert section(Report(opened())) == []


def test_one_opening() -> None:
    heading, words, table = section(Report(opened(RESULT)))
    assert heading == "## Test set"
    assert words.startswith("The test set was opened **once**")
    assert "best one by now" not in words
    assert "optimistic" not in words
    trained = "the best | 15 | 50,000 (those of the study)"
    row = f"| 2025-03-01T12:00:00+00:00 | 0 | {trained} | 10,000 | 0.5000 | 90.00 % | 89.40 to 90.57 % |"
    assert table.splitlines()[-1] == row


def test_who_opened_it_and_for_which_other_studies_are_told(tmp_path: Path) -> None:
    told = replace(RESULT, person="ann", host="laptop")
    record = replace(opened(told), elsewhere=[("other", told), ("third", told), ("third", told)])
    _, words, table = section(Report(record))
    assert "| 2025-03-01T12:00:00+00:00, by ann on laptop | 0 |" in table
    others = "opened for other studies too: other (once) and third (twice). Whoever chooses among studies by such"
    assert others in words
    [head] = result_words(Report(record))
    assert others in head
    shown = json.loads(summary_json(Report(record)))["test_openings_elsewhere"]
    assert [each["study"] for each in shown] == ["other", "third", "third"]
    page = report_html(Report(record), tmp_path)
    assert page.count("third (twice)") == 2
    assert "by ann on laptop" in page


def test_a_study_that_went_on_after_it_was_opened() -> None:
    _, words, _ = section(Report(opened(RESULT, RESULT, values=(0.8, 0.7, 0.9))))
    assert "opened **twice**" in words
    assert "Trials that have finished since: 2." in words
    assert "**Trial 2 is the best one by now, and was not tested.**" in words
    assert "optimistic" in words


@pytest.mark.parametrize(
    ("opening", "cells"),
    [
        (OPENING, "| - | - | result lost | - |"),
        (replace(RESULT, test_loss=None), "| 10,000 | not finite | 90.00 % | 89.40 to 90.57 % |"),
    ],
)
def test_an_opening_without_all_figures(opening: Opening, cells: str) -> None:
    assert section(Report(opened(opening)))[2].endswith(cells)


def test_all_test_images_right_is_no_certainty() -> None:
    perfect = replace(RESULT, test_images=299, test_accuracy=1.0)
    assert section(Report(opened(perfect)))[2].endswith("| 100.00 % | 98.73 to 100.00 % |")


def test_the_fall_from_validation_to_test_is_said() -> None:
    better = replace(RESULT, test_accuracy=0.79)
    assert fall(opened(), OPENING) is None
    found = fall(opened(better), better)
    assert found == pytest.approx((0.01, math.hypot((0.16 / 5000) ** 0.5, (0.79 * 0.21 / 10_000) ** 0.5)))
    words = trust_words(Report(opened(better)))
    assert "trial 0 had 80.00 % on the validation images, and its configuration 79.00 % on the test images" in words
    assert "1.00 points lower (standard error 0.70 points" in words
    assert "10.00 points higher" in trust_words(Report(opened(RESULT)))
    assert "Measured optimism" not in trust_words(Report(opened(OPENING)))
    assert "validation_minus_test=0.01" in "\n".join(result_lines(opened(better)))
    assert "validation_minus_test" not in "\n".join(result_lines(opened(OPENING)))


def test_optimism_is_that_of_the_best_trial() -> None:
    """Not that of the newest opening, which may have been for another trial."""
    own, other = replace(RESULT, test_accuracy=0.79), replace(RESULT, trial=1, test_accuracy=0.5)
    words = trust_words(Report(opened(own, other, replace(own, test_accuracy=0.81), values=(0.8, 0.6))))
    assert "The test set was opened 3 times. Measured optimism: trial 0 had 80.00 %" in words
    assert "79.00 % on the test images" in words
    words = trust_words(Report(opened(other, other, values=(0.8, 0.6))))
    assert words.endswith("The test set was opened twice. It was not opened for trial 0, but for trial 1.")
    lines = "\n".join(kept_lines(opened(own, other, values=(0.8, 0.6))))
    assert "the best one by now" not in lines


def test_a_trial_that_breaks_a_constraint_is_not_called_the_best() -> None:
    """Where none keeps them, nothing is: not even the first of the others."""
    spec = make_spec(SPACE, constraints=["val_accuracy >= 0.9"])
    record = make_record(spec, [MadeTrial({"lr": 0.1}, value, epochs=15) for value in (0.8, 0.85)])
    write_opening(record.study, 0, RESULT)
    assert "best one by now" not in section(Report(load_record(record.study._storage, record.name)))[1]


def test_the_result_comes_first_and_several_openings_are_said() -> None:
    later = replace(RESULT, test_accuracy=0.95, trial=None, chosen="config", source="small.yaml")
    assert result_words(Report(opened(OPENING))) == []
    head = "**90.00 %** test accuracy, 95 % interval 89.40 to 90.57 %, on 10,000 test images: trial 0."
    assert result_words(Report(opened(RESULT))) == [head]
    [words] = result_words(Report(opened(RESULT, later)))
    assert words.startswith(
        "**95.00 %** test accuracy, 95 % interval 94.56 to 95.41 %, on 10,000 test images: the conf"
    )
    assert "opened twice" in words
    assert "later ones optimistic; the first result was 90.00 % (89.40 to 90.57 %), for trial 0." in words
    assert "the first result was lost." in result_words(Report(opened(OPENING, later)))[0]
    found = json.loads(summary_json(Report(opened(RESULT, later))))["test"]
    assert (found["accuracy"], found["images"], found["trial"], found["source"]) == (0.95, 10_000, None, "small.yaml")
    assert (found["interval"], found["openings"]) == (
        [pytest.approx(0.9456, abs=1e-4), pytest.approx(0.9541, abs=1e-4)],
        2,
    )
    assert json.loads(summary_json(Report(opened())))["test"] is None


def test_what_an_opening_showed_is_kept_with_the_study() -> None:
    wanted = analysed_opening()
    record = opened(RESULT, wanted)
    assert all(len(str(value)) < 32_000 for value in record.study.user_attrs.values()), "a value in MySQL has 64 KiB"
    earlier, found = record.openings
    assert earlier.analysis is None
    assert found.analysis == wanted.analysis
    shown = json.loads(summary_json(Report(record)))["test_openings"]
    assert shown[0]["analysis"] is None
    analysis = shown[1]["analysis"]
    assert sum(map(sum, analysis["confusion"])) == 1000
    right = sum(row[index] for index, row in enumerate(analysis["confusion"]))
    assert right / 1000 == found.test_accuracy
    assert [each["right"] for each in analysis["classes"]] == [row[i] for i, row in enumerate(analysis["confusion"])]
    assert len(analysis["calibration"]) == 15
    assert analysis["mistakes"][0]["path"].startswith(f"test/{analysis['mistakes'][0]['true']}/")
    assert "picture" not in analysis["mistakes"][0]
    words = "\n".join(section(Report(record)))
    assert "| class | test images | accuracy | most often taken for |" in words
    assert "Expected calibration error: " in words
    assert "over 15 bins of equal width" in words


def test_which_figures_are_means_and_which_are_of_one_network(tmp_path: Path) -> None:
    opening = analysed_opening(3)
    share = opening.test_accuracy or 0.0
    networks = [{"seed": seed, "test_loss": 0.5, "test_accuracy": share + gap} for seed, gap in ((5, 0.0), (6, 0.02))]
    record = opened(
        replace(
            opening,
            seed=5,
            model="models/made",
            networks=networks,
            test_accuracy=share + 0.01,
            test_metrics={"test_macro_f1": 0.5},
        )
    )
    report = Report(record)
    words = "\n".join(section(report))
    alone = (
        "They are those of the network with seed 5 alone, which is the one that was kept; the figures above are means"
    )
    assert alone in words
    assert "Further metrics of trial 0, means of 2 networks, opened" in words
    assert alone in report_html(report, tmp_path)
    caption = pictures_of(report)["test_classes.png"].caption
    assert caption.endswith("Of the network with seed 5 alone.")
    figure = draw_classes(report)
    assert isinstance(figure, Figure)
    assert any("test images, the network with seed 5: " in text.get_text() for text in figure.findobj(Text))
    lines = result_lines(record)
    assert "seeds=5,6" in lines
    assert "test_figures=mean of 2 networks" in lines
    assert {"model_seed=5", f"model_test_accuracy={share!r}"} <= set(lines)
    origin = Origin(command="finalize", networks=2, mean_test_accuracy=share + 0.01, mean_interval=(0.5, 0.9))
    assert "the mean of 2 networks" in origin.mean_words
    assert "seeds 0.5000 to 0.9000" in origin.mean_words
    assert not any(line.startswith("seed=") for line in lines)


def test_an_analysis_that_cannot_be_read_is_told() -> None:
    record = opened(analysed_opening(3))
    whole = record.study.user_attrs["test_analysis_1_1"]
    for broken in ("{", whole[:100], '{"classes": ["a"]}', whole.replace('"counts":[[0,0', '"counts":[[0,9')):
        record.study.set_user_attr("test_analysis_1_1", broken)
        with pytest.raises(UserError, match="test_analysis_1_1: another version of cifar-tune wrote it, or something"):
            load_record(record.study._storage, record.name)


def test_pictures_come_from_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {file.name for file in export(opened(analysed_opening()), tmp_path)}
    names = {"test_classes.png", "test_calibration.png", "test_mistakes.png"}
    assert names < files
    assert all(Image.open(tmp_path / name).size[0] > 400 for name in names)
    assert "![Mistakes on the test set](test_mistakes.png)" in (tmp_path / "summary.md").read_text()
    leave_pictures_blank(monkeypatch)
    export(opened(RESULT), tmp_path)
    assert not any((tmp_path / name).exists() for name in names), "those of another study are removed"


def test_an_opening_of_a_newer_version_is_refused_by_its_version() -> None:
    record = opened(RESULT)
    newer = {**RESULT.plain(), "cifar_tune": "9.9", "views": 6}
    record.study.set_user_attr("test_opening_2", newer)
    refusal = rf"test_opening_2: was written by cifar-tune 9\.9, and cifar-tune {re.escape(__version__)} cannot read it"
    with pytest.raises(UserError, match=refusal):
        read_openings(record.study.user_attrs)
    for broken in ({"opened": "now"}, [1], "x"):
        with pytest.raises(UserError, match="was written by another version of cifar-tune"):
            read_openings({"test_opening_1": broken})
