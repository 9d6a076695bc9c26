"""The section `notify`: read with its places, and said nowhere else."""

from dataclasses import replace

import pytest

from cifar_tune.cli.spec_lines import spec_lines
from cifar_tune.errors import UserError
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.notify import addresses_in, shown, without_addresses
from cifar_tune.study_spec.overrides import parse_overrides

from .reading import only_problem, read

HOOK = "https://hooks.example.org/T0/secret-path"
MAIL = "mailto://lab:secret-word@example.org"


def test_addresses_are_read_once_each() -> None:
    assert read(f"notify: {HOOK}").spec.notify == (HOOK,)
    assert read(f"notify:\n- {HOOK}\n- {MAIL}\n- {HOOK}").spec.notify == (HOOK, MAIL)
    assert read("notify: []").spec.notify == ()


def test_they_are_no_part_of_what_a_study_is() -> None:
    with_some, without = read(f"notify: [{HOOK}, {MAIL}]").spec, read("").spec
    assert differences(without, with_some) == differences(with_some, without) == []
    assert with_some == without
    assert with_some.plain() == without.plain()
    assert with_some.stored() == without.stored()
    assert "secret" not in repr(with_some)
    assert spec_lines(with_some)[:-1] == spec_lines(without)
    assert spec_lines(with_some)[-1] == "# notify: https://hooks.example.org, mailto://***"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notify:\n- https://example.org/x\n- secret", "study.yaml:4: notify[1]: is no URL, such as https://"),
        ("notify: [https:///secret]", "study.yaml:2: notify[0]: names no host"),
        ("notify: https://h:secret/", "study.yaml:2: notify: is no URL"),
        ('notify: ["https://h/a secret"]', "study.yaml:2: notify[0]: must be 2000 visible characters at most"),
        ("notify: {secret: https://h}", "study.yaml:2: notify: must be a list of addresses such as ["),
        ("notify: [[https://h/secret]]", "study.yaml:2: notify[0]: must be an address such as https://"),
        ("notify: 5", "study.yaml:2: notify: must be a list of addresses such as ["),
        (f"notify: [{', '.join(['https://h/secret'] * 21)}]", "study.yaml:2: notify: takes 20 addresses at most"),
        ("notfy: [https://h/secret]", "study.yaml:2: notfy: unknown key (did you mean 'notify'?)"),
    ],
)
def test_what_is_wrong_is_said_without_the_address(text: str, message: str) -> None:
    found = only_problem(text)
    assert found.startswith(message)
    assert "secret" not in found


@pytest.mark.parametrize("given", ["notify https://h/secret", "notify=[https://h/secret", "notify.x=}https://secret"])
def test_an_option_that_is_wrong_is_not_repeated_either(given: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_overrides([given])
    assert "secret" not in str(raised.value)
    assert "--set" in str(raised.value)


def test_what_may_be_said_of_an_address() -> None:
    assert shown(HOOK) == "https://hooks.example.org"
    assert shown("https://me:secret@example.org:8443/x?key=secret") == "https://example.org"
    assert shown(MAIL) == "mailto://***"


def test_commands_are_repeated_without_addresses() -> None:
    given = ["submit", "s.yaml", "--notify", HOOK, f"--notify={MAIL}", "--set", f"notify=[{HOOK}]", "--set", "lr=1"]
    hidden = ["submit", "s.yaml", "--notify", "***", "--notify=***", "--set", "notify=***", "--set", "lr=1"]
    assert without_addresses(given) == hidden
    assert addresses_in(given) == {HOOK, MAIL, f"[{HOOK}]"}
    assert without_addresses(hidden) == hidden


def test_a_specification_keeps_them_when_something_else_of_it_is_replaced() -> None:
    spec = read(f"notify: {HOOK}").spec
    assert replace(spec, name="other").notify == (HOOK,)
