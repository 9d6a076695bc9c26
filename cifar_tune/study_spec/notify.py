"""The section `notify` of a study file: addresses that are told how the study goes.

An address may hold a secret, such as the password of a mailbox. So no message repeats one: `shown` is what may be said
of it, and the specification that the database, reports and bundles hold does without them.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from cifar_tune.study_spec.problems import Path, Problems

SECTION = "notify"
MOST = 20
"""Addresses of one study."""

WEB = ("http", "https")
"""Schemes of webhooks."""

LONGEST = 2000
_PATH: Path = (SECTION,)
_EXAMPLE = "[https://example.org/hook]"
_HIDDEN = "***"


def read_notify(raw: object, problems: Problems) -> tuple[str, ...]:
    """Read `notify`: a list of addresses, or one. What is wrong is not repeated."""
    if raw is None:
        return ()
    given = [raw] if isinstance(raw, str) else raw
    if not isinstance(given, list):
        problems.add(_PATH, f"must be a list of addresses such as {_EXAMPLE}")
        return ()
    if len(given) > MOST:
        problems.add(_PATH, f"takes {MOST} addresses at most, and has {len(given)}")
        return ()
    found = []
    for index, address in enumerate(given):
        rule = rule_of(address) if isinstance(address, str) else f"must be an address such as {_EXAMPLE[1:-1]}"
        if rule is None:
            found.append(address)
        else:
            problems.add(_PATH if isinstance(raw, str) else (*_PATH, index), rule)
    return tuple(dict.fromkeys(found))


def rule_of(address: str) -> str | None:
    """The rule that the form of an address breaks; None if it breaks none."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "is no URL, such as https://example.org/hook"
    if len(address) > LONGEST or not address.isprintable() or " " in address:
        return f"must be {LONGEST} visible characters at most, without spaces"
    if not parts.scheme or "://" not in address:
        return "is no URL, such as https://example.org/hook"
    if parts.scheme in WEB and not host:
        return "names no host, as in https://example.org/hook"
    return None


def shown(address: str) -> str:
    """What may be said of an address: its kind, and of a webhook its host."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}" if parts.scheme in WEB else f"{parts.scheme}://{_HIDDEN}"


def without_addresses(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command without the addresses in them, for messages and files."""
    return list(_hidden(arguments))


def addresses_in(arguments: Sequence[str]) -> set[str]:
    """What `without_addresses` leaves out."""
    given = zip(arguments, _hidden(arguments), strict=True)
    return {whole[len(part) - len(_HIDDEN) :] for whole, part in given if whole != part} - {""}


def _hidden(arguments: Sequence[str]) -> Iterator[str]:
    before = ""
    for argument in arguments:
        known = next((each for each in ("--notify=", f"--set={SECTION}=") if argument.startswith(each)), None)
        if before == "--notify":
            known = ""
        elif before == "--set" and argument.startswith(f"{SECTION}="):
            known = f"{SECTION}="
        yield argument if known is None else f"{known}{_HIDDEN}"
        before = argument
