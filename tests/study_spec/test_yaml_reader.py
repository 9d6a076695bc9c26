import math
from pathlib import Path

import pytest

from cifar_tune.errors import UserError
from cifar_tune.study_spec.reader import read_document, read_study_file
from cifar_tune.study_spec.run_config import read_run_config
from cifar_tune.study_spec.yaml_reader import MAX_BYTES, read_yaml, read_yaml_value


def refusal(text: str) -> str:
    with pytest.raises(UserError) as raised:
        read_yaml(text, "f.yaml")
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("1e5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1e-3", -1e-3),
        ("+1.5E+3", 1500.0),
        ("-.5e1", -5.0),
        ("0.1", 0.1),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1e400", math.inf),
    ],
)
def test_floats(text: str, value: float) -> None:
    read = read_yaml_value(text)
    assert type(read) is float
    assert read == value


def test_nan() -> None:
    assert math.isnan(float(str(read_yaml_value(".nan"))))


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-3", -3), ("+4", 4), ("007", 7), ("9" * 30, int("9" * 30))])
def test_whole_numbers(text: str, value: int) -> None:
    read = read_yaml_value(text)
    assert type(read) is int
    assert read == value


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "y", "n", "On", "OFF", "Yes", "NO", "Y", "N"])
def test_words_that_yaml_1_1_takes_for_flags_stay_text(word: str) -> None:
    assert read_yaml_value(word) == word
    assert read_yaml(f"{word}: {word}").value == {word: word}


@pytest.mark.parametrize(
    "text",
    ["12:30", "12:30:45", "0x1F", "0o17", "0b1", "1_000", "2024-01-31", "2024-01-31T10:00:00Z", "1e", "e5", "1.2.3",
     "--1", "+", "-", ".", "1e-", "inf", "nan", "<<", "=", "tRUE", "nUll", "٣", "1,000", "9" * 31],
)  # fmt: skip
def test_what_is_no_plain_number_stays_text(text: str) -> None:
    assert read_yaml_value(text) == text if text != "-" else read_yaml_value(text) == [None]


@pytest.mark.parametrize("text", ["1", "1e-4", "true", "null", "~", "", ".5"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_what_is_quoted_is_text(text: str, quote: str) -> None:
    assert read_yaml_value(f"{quote}{text}{quote}") == text


@pytest.mark.parametrize("text", ["|\n  5\n", ">\n  5\n"])
def test_what_is_in_a_block_is_text(text: str) -> None:
    assert read_yaml_value(text) == "5\n"


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("FALSE", False), ("false", False)])
def test_flags(text: str, value: bool) -> None:
    assert read_yaml_value(text) is value


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL", "# nothing", "---", "--- \n...", "\n\n"])
def test_nothing(text: str) -> None:
    assert read_yaml_value(text) is None


def test_lines() -> None:
    document = read_yaml("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n\ne: f\n")
    assert document.value == {"a": 1, "b": ["x", {"c": 2, "d": 3}], "e": "f"}
    assert document.lines[("a",)] == 1
    assert document.lines[("b", 0)] == 3
    assert document.lines[("b", 1, "d")] == 5
    assert document.lines[("e",)] == 7


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    document = read_yaml("\ufeffa: 1\r\nb: 2\r\n")
    assert document.value == {"a": 1, "b": 2}
    assert document.lines[("b",)] == 2


def test_keys_are_text() -> None:
    assert read_yaml("1: a\n1.0: b\nnull: c\ntrue: d").value == {"1": "a", "1.0": "b", "null": "c", "true": "d"}


def test_a_key_given_twice_is_reported_with_both_lines() -> None:
    assert refusal("a: 1\nb: 2\na: 3") == "f.yaml:1: a: is given twice, on lines 1 and 3"


def test_every_key_given_twice_is_reported_nested_ones_too() -> None:
    text = "a: {x: 1, x: 2}\nb:\n  - c: 1\n    d: 2\n    c: 3\na: 4\n"
    assert refusal(text).splitlines() == [
        "f.yaml:1: a.x: is given twice, on line 1",
        "f.yaml:1: a: is given twice, on lines 1 and 6",
        "f.yaml:3: b[0].c: is given twice, on lines 3 and 5",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['echo hello']",
        "a: !!python/object:os.system {}",
        "a: !!python/name:os.system",
        "!!python/name:os.system : 1",
        "a: !custom 5",
        "a: !!int abc",
        "a: !!int '5'",
        "a: !!float abc",
        "a: !!bool maybe",
        "a: !!null x",
        "a: !!str 5",
        "a: !!binary aGVsbG8=",
        "a: !!timestamp 2024-01-01",
        "a: !!set {x, y}",
        "a: !!omap [x: 1]",
        "!!int a: 1",
        "a: !<tag:yaml.org,2002:int> abc",
        "%TAG ! tag:example.com,2000:\n---\na: !thing 1",
    ],
)
def test_tags_are_refused(text: str) -> None:
    assert "the tag '" in refusal(text)


def test_a_tag_is_shown_as_it_is_written() -> None:
    assert refusal("a: 1\nb: !!python/name:os.system") == (
        "f.yaml:2: the tag '!!python/name:os.system' is not read; only plain values are"
    )


def test_anchors_and_aliases_are_read() -> None:
    assert read_yaml("a: &x [1, 2]\nb: *x").value == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{<<: *x}", {"b": 1, "d": [2]}),
        ("{<<: *x, b: 5}", {"b": 5, "d": [2]}),
        ("{b: 5, <<: *x}", {"b": 5, "d": [2]}),
        ("{<<: [*x, *y], c: 3}", {"b": 1, "d": [2], "c": 3, "e": 9}),
        ("{<<: [*y, *x]}", {"b": 8, "d": [2], "e": 9}),
        ("{<<: {<<: *x, r: 2}, q: 1}", {"b": 1, "d": [2], "r": 2, "q": 1}),
        ("{<<: []}", {}),
        ("{'<<': 5}", {"<<": 5}),
    ],
)
def test_merge_keys(text: str, value: object) -> None:
    document = read_yaml(f"x: &x {{b: 1, d: [2]}}\ny: &y {{b: 8, e: 9}}\nc: {text}")
    assert document.value == {"x": {"b": 1, "d": [2]}, "y": {"b": 8, "e": 9}, "c": value}


@pytest.mark.parametrize("value", ["{model: cnn2, epochs: 3}", "[1, {a: 2}]", "5"])
def test_top_level_keys_that_begin_with_x_are_places_for_anchors(tmp_path: Path, value: str) -> None:
    (tmp_path / "s.yaml").write_text(
        f"name: s\nx-other: {value}\nx-base: &base {{model: cnn2}}\ntrain: {{<<: *base}}\n"
    )
    assert read_study_file(tmp_path / "s.yaml").spec.train == {"model": "cnn2"}
    (tmp_path / "c.yaml").write_text(f"x-other: {value}\nx-base: &base {{epochs: 3}}\ntrain: {{<<: *base}}\n")
    assert read_run_config(tmp_path / "c.yaml").train["epochs"] == 3
    (tmp_path / "s.yaml").write_text("name: s\ntrain: {x-base: {model: cnn2}}\n")  # only at the top
    with pytest.raises(UserError, match=r"s\.yaml:2: train\.x-base: unknown key"):
        read_study_file(tmp_path / "s.yaml")


def test_what_is_merged_has_the_line_on_which_it_is_written() -> None:
    lines = read_yaml("x: &x\n  b: 1\n  d: {e: 2}\nc:\n  <<: *x\n  b: 5\n").lines
    assert (lines[("c", "b")], lines[("c", "d")], lines[("c", "d", "e")]) == (6, 3, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "c: {<<: 5}",
            "f.yaml:1: c.<<: takes a mapping, or a list of mappings, such as `<<: *base` below `x-base: &base",
        ),
        ("c: {<<: [{a: 1}, 5]}", "f.yaml:1: c.<<: takes a mapping, or a list of mappings"),
        ("c: {<<: {a: 1}, <<: {b: 1}}", "f.yaml:1: c.<<: is given twice, on line 1"),
        ("c: {<<: {a: 1, a: 2}}", "f.yaml:1: c.<<.a: is given twice, on line 1"),
        ("a: &a {<<: *a}", "is nested too deeply, or repeats itself without end"),
        ("a: &a {b: &b {<<: *a}, <<: *b}", "is nested too deeply, or repeats itself without end"),
        (
            "a0: &a0 {x: 1}\n"
            + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)),
            "is nested too deeply, or repeats itself without end",
        ),
    ],
)
def test_merge_keys_that_cannot_be_read(text: str, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
        "a: &a [*a]",
        "a: &a [*a, *a, *a]",
        "a: &a {b: *a}",
        "a: &a {b: *a, c: *a}",
        "&a [*a]",
        "[" * 60 + "]" * 60,
        "[" * 40_000,
        "- " * 40_000,
        "{a: " * 20_000,
        "? " * 40_000,
        "[" + "x, " * 10_001 + "]",
        "".join(f"k{i}: 1\n" for i in range(5_000)) + "a: [" + "1," * 5_001 + "]",
    ],
    ids=["laughs", "self", "selves", "map", "maps", "root", "deep", "[", "-", "{a:", "?", "long", "many"],
)
def test_what_is_too_deep_or_without_end(text: str) -> None:
    assert "nested too deeply" in refusal(text)


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("a: 1\n\tb: 2", 2, "indent with spaces"),
        ("a:\n\t- b", 2, "indent with spaces"),
        ("a: 1\n---\nb: 2", 2, "expected a single document in the stream but found another document"),
        ("a: [1, 2", 1, "expected ',' or ']'"),
        ("a: 'b", 1, "found unexpected end of stream"),
        ("a: b: c", 1, "mapping values are not allowed here"),
        ("a: 1\n b: 2", 2, "mapping values are not allowed here"),
        ("a: *nobody", 1, "found undefined alias"),
        ("a: @x", 1, "that cannot start any token"),
        ("a: %x", 1, "that cannot start any token"),
        ("%YAML 2.0\n---\na", 1, "incompatible YAML document"),
        ("[a]: 1\n? {b: 1}\n: 2", 1, "a key must be a plain word"),
        ("a: 1\nb: \0", 2, "holds a character that text may not hold"),
        ("a: 1\nb: \x07", 2, "holds a character that text may not hold"),
        ("a: 1\nb: \ud800", 2, "holds a character that text may not hold"),
        ('a: 1\nb: "x\\0y"', 2, "holds a character that text may not hold"),
        ('a: 1\n"x\\0y": 2', 2, "holds a character that text may not hold"),
        ('a: "\\uD800"', 1, "holds a character that text may not hold"),
        ('a: 1\nb: "\\UFFFFFFFF"', 2, "a number in it is too large"),
        ('a: "\\U00110000"', 1, "a number in it is too large"),
        ("%YAML 1." + "1" * 5000 + "\n---\na", 1, "a number in it is too large"),
        ('a: "\\q"', 1, "found unknown escape character"),
    ],
)
def test_what_is_no_yaml_is_reported_with_its_line(text: str, line: int, rule: str) -> None:
    [message] = refusal(text).splitlines()[:1]
    assert message.startswith(f"f.yaml:{line}: ")
    assert rule in refusal(text)


def test_a_key_with_control_characters_is_shown_escaped() -> None:
    assert refusal('"\\e[2J": 1\n"\\e[2J": 1') == "f.yaml:1: '\\x1b[2J': is given twice, on lines 1 and 2"


def test_what_is_too_large_is_not_parsed() -> None:
    assert refusal("[" * (MAX_BYTES + 1)) == f"f.yaml: is larger than {MAX_BYTES:,} bytes, which no study file needs"
    assert refusal("ä" * (MAX_BYTES // 2 + 1)).startswith("f.yaml: is larger than")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: \xff\xfe", "is not UTF-8 text (byte 6)"),
        ("name: x".encode("utf-16"), "is not UTF-8 text (byte 0)"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text (byte 0)"),
        (b"a" * 2_000_000, "is larger than 100,000 bytes"),
        (b"\0" * 100, ":1: is not valid YAML: it holds a character that text may not hold"),
    ],
    ids=["latin", "utf16", "png", "large", "zeros"],
)
def test_files_that_are_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError) as raised:
        read_document(file)
    assert str(file) in str(raised.value)
    assert message in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        read_document(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_document(tmp_path)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("train:\n  width: 4\n epochs: 5\n", "must begin in the same column"),
        ("train:\n  width: 4\n    epochs: 5\n", "indented deeper than its section"),
        ("train:\n  width:4\n  epochs: 5\n", "the space behind its colon"),
    ],
)
def test_layout_errors_say_what_people_usually_did(text: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        read_yaml(text)
