from pathlib import Path

from cifar_tune.cli.reference import COMMAND, SECTION_WORDS, reference
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.table import KNOBS
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.reader import SECTIONS
from cifar_tune.study_spec.samplers import SAMPLERS

DOCUMENT = Path(__file__).parents[2] / "docs" / "study-file.md"


def test_the_document_is_what_the_code_says() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == reference(), f"run: {COMMAND}"


def test_every_section_is_described() -> None:
    assert set(SECTION_WORDS) == set(SECTIONS)


def test_nothing_is_left_out() -> None:
    lines = reference().splitlines()
    assert {f"### {name}" for name in (*KNOBS, *SAMPLERS, *PRUNERS)} <= set(lines)
    rows = {line.split(" | ")[0] for line in lines if line.startswith("| ")}
    assert {f"| `{name}`" for name in (*Metrics(), *DataSpec.model_fields)} <= rows
    parameters = [*(each.parameters for each in SAMPLERS.values()), *(each.parameters for each in PRUNERS.values())]
    assert {f"| `{each.name}`" for some in parameters for each in some} <= rows
    assert "None" not in reference()


def test_parameters_without_a_fixed_default_show_none() -> None:
    rows = [line.split(" | ") for line in reference().splitlines() if line.startswith("| `")]
    defaults = {row[0].strip("| `"): row[2] for row in rows if len(row) == 4}
    assert {name: defaults[name] for name in ("percentile", "patience", "popsize", "mutation_prob")} == {
        "percentile": "none: must be given",
        "patience": "none: must be given",
        "popsize": "automatic",
        "mutation_prob": "automatic",
    }
