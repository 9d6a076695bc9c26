"""`plugins` in a study file and in a configuration."""

import json
from pathlib import Path

import pytest
import yaml

from cifar_tune.errors import UserError
from cifar_tune.storage.stored_studies import read_stored_spec
from cifar_tune.study_spec.difference import differences, uses_changed_plugin
from cifar_tune.study_spec.overrides import parse_override
from cifar_tune.study_spec.plugin_section import read_plugins
from cifar_tune.study_spec.reader import read_study, read_study_file, read_study_name
from cifar_tune.study_spec.run_config import read_run_config
from cifar_tune.study_spec.yaml_reader import Document

from .reading import only_problem, read, refused

PARTS = """
from cifar_tune.plugins import Kind, Knob, LossPart
from torch.nn import functional

def own_loss(logits, targets, *, bite):
    return functional.cross_entropy(logits, targets) * bite

open("executed", "a").write(".")
LOSSES = {"own": LossPart(own_loss, "mine", arguments={"bite": "bite"}, defaults={"bite": 2.0})}
KNOBS = [Knob("bite", Kind.FLOAT, 1.0, "how hard", low=0, owner="loss")]
"""
STUDY = """name: made
plugins: [parts.py]
train: {loss: own}
search_space: {bite: {low: 0.5, high: 4.0, log: true}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts.py").write_text(PARTS + f"# {tmp_path}\n")  # content of its own, so that it runs in each test
    return tmp_path


def test_own_parts_and_knobs_are_like_any_other() -> None:
    spec = read(STUDY).spec
    assert spec.train == {"loss": "own"}
    assert spec.space.configuration(lambda name, dimension: 3.0)["bite"] == 3.0
    assert read("plugins: [parts.py]", ["loss=own"]).spec.space.configuration(lambda *_: 1.0)["bite"] == 2.0


def test_set_reaches_own_knobs_and_the_section_itself() -> None:
    spec = read(STUDY, ["bite=0.5"]).spec
    assert spec.train == {"loss": "own", "bite": 0.5}
    assert not spec.search_space
    assert read("train: {loss: cross_entropy}", ["plugins=[parts.py]", "loss=own"]).spec.plugins[0].path == "parts.py"
    assert only_problem(STUDY, ["plugins=[prats.py]"]).startswith(
        "--set: plugins[0] = 'prats.py': there is no such file"
    )


def test_another_study_is_read_without_them() -> None:
    read(STUDY)
    assert only_problem("train: {loss: own}").startswith("study.yaml:2: train.loss = 'own': must be cross_entropy")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("parts.py", "plugins = 'parts.py': must be a list of Python files, such as [my_parts.py]"),
        ("{a: 1}", "plugins = {'a': 1}: must be a list of Python files"),
        ("[3]", "plugins[0] = 3: must be a Python file, such as my_parts.py, or {path: my_parts.py, sha256: ...}"),
        ("[{path: parts.py, sha: x}]", "must be a Python file, such as my_parts.py, or {path"),
        ("[{path: parts.py, sha256: 1}]", "must be a Python file, such as my_parts.py, or {path"),
        ("[parts.py, ./parts.py]", "plugins[1] = './parts.py': is listed twice"),
        ("[part.py]", "there is no such file in the folder that cifar-tune is started in (did you mean 'parts.py'?)"),
        (
            "[../parts.py]",
            "must lie below the folder of the study file or the one you start in, without `..`",
        ),
        (
            "[{path: parts.py, sha256: abc}]",
            "its content is not the content that was written down (perhaps only in comments: their meaning was not "
            "kept); bring that code back, or write only the path, to take what is there now",
        ),
        ("{parts.py: {sha256: x, parts: {}, knobs: {}}}", "must be a list of Python files"),
    ],
)
def test_refused(section: str, message: str, folder: Path) -> None:
    problem = only_problem(f"plugins: {section}")
    assert problem.startswith("study.yaml:2: plugins")
    assert message in problem
    assert not (folder / "executed").exists()


def test_what_is_wrong_with_the_file_is_said_before_what_is_wrong_with_the_study(folder: Path) -> None:
    (folder / "parts.py").write_text("x = (\n")
    assert [str(problem) for problem in refused(STUDY)] == ["parts.py:1: is not valid Python: '(' was never closed"]


def test_a_wrong_own_knob_has_its_nearest_name() -> None:
    problem = only_problem(STUDY.replace("{bite:", "{bitte:"))
    assert problem == "study.yaml:4: search_space.bitte: unknown key (did you mean 'bite'?)"
    problem = only_problem(STUDY.replace("loss: own", "loss: mse"))
    assert "search_space.bite: loss mse does not take bite; taken by own" in problem


def test_the_stored_specification_is_read_without_the_file(folder: Path) -> None:
    spec = read(STUDY).spec
    stored = json.loads(json.dumps(spec.plain(), allow_nan=False))
    (folder / "parts.py").unlink()
    read("name: other")
    again = read_study(Document(stored), "the stored study", is_stored=True).spec
    assert again == spec
    assert again.plain() == spec.plain()
    assert again.space.configuration(lambda name, dimension: 3.0)["bite"] == 3.0
    assert (folder / "executed").read_text() == "."
    assert not differences(again, spec)


@pytest.mark.parametrize(
    "stored",
    [
        ["parts.py"],
        {"parts.py": {}},
        {"parts.py": {"sha256": "", "parts": {"x": {"y": {}}}, "knobs": {}}},
        {"parts.py": {"sha256": "", "parts": {"loss": {"y": {}}}, "knobs": {}}},
        {"parts.py": {"sha256": "", "parts": {"loss": {"y": 1}}, "knobs": {}}},
        {"parts.py": 1},
        1,
    ],
)
def test_a_stored_description_that_is_none_is_refused(stored: object) -> None:
    with pytest.raises(UserError, match="is not a description of plugins that this version can read"):
        read_study(Document({"name": "made", "plugins": stored}), "x", is_stored=True)


def test_changed_content_is_a_typed_difference(folder: Path) -> None:
    before = read(STUDY).spec
    text = (folder / "parts.py").read_text()
    (folder / "parts.py").write_text(text.replace('"bite": 2.0', '"bite": 3.0'))
    after = read(STUDY).spec
    assert [str(each) for each in differences(before, after)] == [
        "plugins.parts.py: its code has changed",
        "plugins.parts.py.parts.loss.own.defaults.bite: 2.0 -> 3.0",
    ]
    without = read("name: made\nsearch_space: {lr: {low: 0.1, high: 1}}").spec
    assert "plugins.parts.py: removed" in [str(each) for each in differences(before, without)]
    assert "plugins.parts.py: added" in [str(each) for each in differences(without, before)]


def test_a_comment_changes_nothing(folder: Path) -> None:
    before = read(STUDY).spec
    text = (folder / "parts.py").read_text()
    (folder / "parts.py").write_text(f'"""What this is."""\n# a word\n{text}')
    after = read(STUDY).spec
    assert not differences(before, after)
    assert uses_changed_plugin({"loss": "own", "bite": 0.5}, before.plugins, after.plugins) is None
    (folder / "parts.py").write_text(text.replace('"bite": 2.0', '"bite": 3.0'))
    assert uses_changed_plugin({"loss": "own"}, before.plugins, read(STUDY).spec.plugins) == "parts.py"


def test_a_study_that_kept_no_meaning_is_recognised_by_its_content(folder: Path) -> None:
    stored = json.loads(json.dumps(read(STUDY).spec.stored()))
    del stored["plugins"]["parts.py"]["meaning"]
    older = read_stored_spec("made", stored)
    assert not differences(older, read(STUDY).spec)
    (folder / "parts.py").write_text((folder / "parts.py").read_text() + "# a word\n")
    [found] = differences(older, read(STUDY).spec)
    assert str(found) == "plugins.parts.py: its content has changed, perhaps only in comments"


def test_the_name_alone_runs_nothing(folder: Path) -> None:
    (folder / "study.yaml").write_text(STUDY)
    assert read_study_name(folder / "study.yaml") == "made"
    (folder / "parts.py").unlink()
    assert read_study_name(folder / "study.yaml") == "made"
    (folder / "study.yaml").write_text(STUDY.replace("name: made", "name: ''"))
    with pytest.raises(UserError, match=r"study\.yaml:1: name"):
        read_study_name(folder / "study.yaml")
    assert not (folder / "executed").exists()


def test_a_configuration_names_them_with_their_content(folder: Path) -> None:
    (folder / "study.yaml").write_text(STUDY)
    sha256 = read_study_file(folder / "study.yaml").spec.plugins[0].sha256
    best = folder / "best.yaml"
    best.write_text(f"plugins: [{{path: parts.py, sha256: {sha256}}}]\ntrain: {{loss: own, bite: 0.5}}\n")
    assert read_run_config(best).train["bite"] == 0.5
    assert read_run_config(best, [parse_override("bite=1.5")]).train["bite"] == 1.5
    (folder / "parts.py").write_text(PARTS)
    with pytest.raises(UserError, match="write only the path, to take what is there now"):
        read_run_config(best)


def test_a_configuration_knows_the_code_behind_a_comment(folder: Path) -> None:
    plugin = read(STUDY).spec.plugins[0]
    best = folder / "best.yaml"
    best.write_text(yaml.safe_dump({"plugins": [plugin.reference], "train": {"loss": "own", "bite": 0.5}}))
    text = (folder / "parts.py").read_text()
    (folder / "parts.py").write_text(f"# a word\n{text}")
    assert read_run_config(best).train["bite"] == 0.5
    (folder / "parts.py").write_text(text.replace('"bite": 2.0', '"bite": 3.0'))
    with pytest.raises(UserError, match="its code is not the code that was written down; bring that code back, or"):
        read_run_config(best)
    with pytest.raises(UserError, match="its code is not the code that was written down; bring back the code that the"):
        read_plugins({"plugins": [plugin.reference]}, "the stored study", {}, ())


def test_a_plugin_beside_the_study_file_is_found_again(folder: Path) -> None:
    """By the study's name and by an exported configuration too, which lie elsewhere."""
    (folder / "studies").mkdir()
    (folder / "parts.py").rename(folder / "studies" / "parts.py")
    (folder / "studies" / "study.yaml").write_text(STUDY)
    spec = read_study_file(folder / "studies" / "study.yaml").spec
    [plugin] = read_stored_spec("made", json.loads(json.dumps(spec.stored()))).plugins
    assert plugin.place == {"path": "parts.py", "folder": "studies"}
    by_name = read_study(
        Document({**spec.plain(), "plugins": [plugin.place]} | {"budget": {}}), "the stored study"
    ).spec
    assert not differences(spec, by_name)
    best = folder / "reports" / "made" / "best.yaml"
    best.parent.mkdir(parents=True)
    best.write_text(yaml.safe_dump({"plugins": [plugin.reference], "train": {"loss": "own", "bite": 0.5}}))
    assert read_run_config(best).train["bite"] == 0.5
    moved = read_study_file(Path((folder / "studies").rename(folder / "elsewhere")) / "study.yaml").spec
    assert not differences(spec, moved)
