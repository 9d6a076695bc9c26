"""The plan shares slots by the rules, wastes none, and stays as it is where nothing has changed."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_tune.service.reasons import Facts, reasons
from cifar_tune.service.scheduling import NOTHING, Claim, Plan, Rules, Used, decayed, plan, used_since

_NOW = 1_000_000.0
_RULES = Rules()
_OWNERS = ("anna", "ben", "carl", "dora")


def _claim(study: str, owner: str, priority: int = 0, **more: Any) -> Claim:
    return Claim(study, owner, priority, **{"submitted_at": _NOW - 9_000, "waiting_since": _NOW - 9_000} | more)


def _used(usage: Mapping[str, float]) -> dict[str, Used]:
    """Owners who had a slot a moment ago."""
    return {owner: Used(seconds, _NOW - 10) for owner, seconds in usage.items()}


def _planned(
    claims: Sequence[Claim],
    slots: int,
    usage: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    quotas: Mapping[str, int] | None = None,
) -> Plan:
    return plan(claims, slots, _used(usage or {}), weights or {}, quotas or {}, _NOW)


@st.composite
def _claims(draw: st.DrawFn) -> list[Claim]:
    found = []
    for number in range(draw(st.integers(0, 7))):
        submitted = _NOW - draw(st.sampled_from([0.0, 10.0, 3_600.0, 100_000.0, 300_000.0]))
        held = draw(st.integers(0, 3))
        since = max(submitted, _NOW - draw(st.sampled_from([5.0, 59.0, 60.0, 4_000.0])))
        found.append(
            Claim(
                f"study-{number}",
                draw(st.sampled_from(_OWNERS)),
                draw(st.integers(-1, 2)),
                submitted,
                submitted,
                draw(st.none() | st.integers(1, 4)),
                draw(st.none() | st.integers(0, 5)),
                draw(st.sampled_from([1, 1, 1, 2, 4])),
                held,
                since if held else None,
            )
        )
    return found


_SLOTS = st.integers(0, 9)
_USAGE = st.dictionaries(
    st.sampled_from(_OWNERS),
    st.builds(
        Used,
        st.sampled_from([0.0, 800.0, 3_000.0, 90_000.0, 1e6]),
        st.sampled_from([_NOW, _NOW - 1_000.0, _NOW - 30_000.0]),
    ),
)
_WEIGHTS = st.dictionaries(st.sampled_from(_OWNERS), st.sampled_from([0.5, 1.0, 3.0]))
_QUOTAS = st.dictionaries(st.sampled_from(_OWNERS), st.integers(0, 5))


def _after(claims: Sequence[Claim], made: Plan, now: float = _NOW) -> list[Claim]:
    """The claims once the plan has been carried out."""
    return [
        replace(
            claim,
            held=count,
            since=(now if count > claim.held else claim.since) if count else None,
            waiting_since=now if claim.held and not count else claim.waiting_since,
            kept_until=now + _RULES.favour if claim.study in made.favoured else claim.kept_until,
        )
        for claim in claims
        for count in [made.allotments.get(claim.study, 0)]
    ]


@given(_claims(), _SLOTS, _USAGE, _WEIGHTS, _QUOTAS)
def test_no_slot_is_given_twice_and_limits_are_kept(
    claims: list[Claim], slots: int, usage: dict[str, Used], weights: dict[str, float], quotas: dict[str, int]
) -> None:
    made = plan(claims, slots, usage, weights, quotas, _NOW)
    by_owner: Counter[str] = Counter()
    for claim in claims:
        count = made.allotments.get(claim.study, 0)
        by_owner[claim.owner] += count * claim.each
        assert claim.most is None or count <= claim.most
    assert sum(by_owner.values()) + made.free == slots
    assert made.free >= 0
    assert all(by_owner[owner] <= quota for owner, quota in quotas.items())


@given(_claims(), _SLOTS, _USAGE, _WEIGHTS, _QUOTAS)
def test_no_slot_is_free_that_somebody_could_use(
    claims: list[Claim], slots: int, usage: dict[str, Used], weights: dict[str, float], quotas: dict[str, int]
) -> None:
    made = plan(claims, slots, usage, weights, quotas, _NOW)
    by_owner = Counter[str]()
    for claim in claims:
        by_owner[claim.owner] += made.allotments.get(claim.study, 0) * claim.each
    for claim in claims:
        has_enough = claim.most is not None and made.allotments.get(claim.study, 0) >= claim.most
        is_at_quota = by_owner[claim.owner] + claim.each > quotas.get(claim.owner, slots)
        assert has_enough or is_at_quota or claim.each > made.free


@given(_claims(), _SLOTS, _USAGE, _WEIGHTS, _QUOTAS)
def test_a_plan_that_was_carried_out_is_planned_again(
    claims: list[Claim], slots: int, usage: dict[str, Used], weights: dict[str, float], quotas: dict[str, int]
) -> None:
    made = plan(claims, slots, usage, weights, quotas, _NOW)
    assert plan(list(reversed(claims)), slots, usage, weights, quotas, _NOW) == made, "the order of claims says nothing"
    until_now = {claim.owner: replace(usage.get(claim.owner, NOTHING), last=_NOW) for claim in claims if claim.held}
    again = plan(_after(claims, made), slots, usage | until_now, weights, quotas, _NOW)
    assert (again.allotments, again.preempted) == (made.allotments, {})
    if slots:
        facts = Facts(claims, slots, usage, weights, quotas, _RULES, _NOW)
        assert all(reasons(made, facts).values())


@given(_claims(), _SLOTS, _USAGE, _WEIGHTS, _QUOTAS)
def test_nothing_moves_once_minimum_times_are_over(
    claims: list[Claim], slots: int, usage: dict[str, Used], weights: dict[str, float], quotas: dict[str, int]
) -> None:
    now, allotments = _NOW, []
    for _ in range(3):
        made = plan(claims, slots, usage, weights, quotas, now, Rules(patience=1e9))
        allotments.append(made.allotments)
        claims = _after(claims, made, now)
        now += 2_000.0
    assert allotments[2] == allotments[1]


@given(_claims().filter(bool), _SLOTS, _USAGE, _WEIGHTS, _QUOTAS)
def test_a_higher_priority_never_takes_slots_away(
    claims: list[Claim], slots: int, usage: dict[str, Used], weights: dict[str, float], quotas: dict[str, int]
) -> None:
    before = plan(claims, slots, usage, weights, quotas, _NOW)
    raised = [replace(claims[0], priority=claims[0].priority + 1), *claims[1:]]
    after = plan(raised, slots, usage, weights, quotas, _NOW)
    name = claims[0].study
    assert after.allotments.get(name, 0) >= before.allotments.get(name, 0)
    if name in after.waiting:
        assert after.positions[name] <= before.positions[name]


@given(_claims(), _SLOTS, _USAGE, _WEIGHTS, _QUOTAS)
def test_whoever_waits_has_a_place_and_a_reason(
    claims: list[Claim], slots: int, usage: dict[str, Used], weights: dict[str, float], quotas: dict[str, int]
) -> None:
    made = plan(claims, slots, usage, weights, quotas, _NOW)
    assert sorted([*made.waiting, *made.allotments]) == sorted(claim.study for claim in claims)
    assert sorted(made.positions.values()) == list(range(1, len(made.waiting) + 1))
    said = reasons(made, Facts(claims, slots, usage, weights, quotas, _RULES, _NOW))
    held = {claim.study for claim in claims if claim.held}
    assert said.keys() == {*made.waiting, *(made.allotments.keys() - held)}
    assert all(said.values())


@settings(max_examples=30)
@given(_claims().filter(bool), st.integers(4, 9), _USAGE, _WEIGHTS, st.integers(0, 6))
def test_nobody_waits_for_ever(
    claims: list[Claim], slots: int, usage: dict[str, Used], weights: dict[str, float], watched: int
) -> None:
    """Studies of others that never end, whatever their priorities, and whatever was used before.

    Owners who have waited as long, and whose trials take all slots, may come first, one after the other.
    """
    watched %= len(claims)
    name = claims[watched].study
    claims[watched] = replace(claims[watched], owner="eve", held=0, since=None)
    usage = {"eve": Used(1e6, _NOW)} | usage
    now, step = _NOW, 1_200.0
    while now <= _NOW + _RULES.patience + len(_OWNERS) * (_RULES.favour + step):
        made = plan(claims, slots, usage, weights, {}, now)
        claims = _after(claims, made, now)
        if made.allotments.get(name):
            return
        now += step
        for owner in _OWNERS:
            taken = sum(claim.held * claim.each for claim in claims if claim.owner == owner)
            before = usage.get(owner, Used(0.0, -math.inf))
            added = used_since(taken, step, _RULES.half_life)
            more = decayed(before.device_seconds, step, _RULES.half_life) + added
            usage[owner] = Used(more, now if taken else before.last)
    pytest.fail(f"{name} has not run")


def test_priority_comes_before_fair_share() -> None:
    claims = [_claim("a", "anna", 1), _claim("b", "ben", 0)]
    assert _planned(claims, 4, usage={"anna": 1e6}).allotments == {"a": 4}


def test_slots_are_shared_by_weight() -> None:
    claims = [_claim("a", "anna"), _claim("b", "ben"), _claim("c", "carl")]
    assert _planned(claims, 8, weights={"anna": 2}).allotments == {"a": 4, "b": 2, "c": 2}


def test_whoever_has_used_less_comes_first() -> None:
    claims = [_claim("a", "anna", held=1, since=_NOW - 100), _claim("b", "ben")]
    assert _planned(claims, 1, usage={"anna": 299}).allotments == {"a": 1}, "within the margin"
    made = _planned(claims, 1, usage={"anna": 301})
    assert (made.allotments, made.preempted) == ({"b": 1}, {"a": 0})


def test_a_study_that_has_just_begun_keeps_its_slots() -> None:
    fresh = _claim("a", "anna", held=2, since=_NOW - 59)
    urgent = _claim("b", "ben", 5)
    assert _planned([fresh, urgent], 2).allotments == {"a": 2}
    assert _planned([replace(fresh, since=_NOW - 60), urgent], 2).allotments == {"b": 2}
    assert _planned([replace(fresh, workers=1), urgent], 2).allotments == {"a": 1, "b": 1}, "its owner wants one"


def test_what_the_first_cannot_use_goes_to_the_next() -> None:
    claims = [_claim("large", "anna", 1, each=4), _claim("small", "ben", 0)]
    assert _planned(claims, 6).allotments == {"large": 1, "small": 2}
    assert _planned([replace(claims[0], trials_left=1, each=1), claims[1]], 6).allotments == {"large": 1, "small": 5}


def test_a_large_trial_gets_the_slots_of_small_ones() -> None:
    small = [_claim(f"s{n}", "anna", held=1, since=_NOW - 100, workers=1) for n in range(4)]
    made = _planned([*small, _claim("large", "ben", each=4)], 4, usage={"anna": 8_000})
    assert made.allotments == {"large": 1}


def test_an_owner_who_has_had_no_slot_for_long_gets_one_for_half_an_hour() -> None:
    begun = _NOW - 21_600
    hungry = Claim("old", "anna", -5, begun, begun)
    running = Claim("new", "ben", 5, begun, begun, held=1, since=_NOW - 5_000)
    usage = {"ben": Used(5_000.0, _NOW), "anna": Used(1e6, begun - 1)}
    made = plan([hungry, running], 1, usage, {}, {}, _NOW)
    assert (made.allotments, made.favoured) == ({"old": 1}, ("old",))
    assert plan([hungry, running], 1, usage, {}, {}, _NOW - 1).allotments == {"new": 1}
    lately = usage | {"anna": Used(1e6, begun + 1)}
    assert plan([hungry, running], 1, lately, {}, {}, _NOW).allotments == {"new": 1}, "another study of hers has run"
    kept = replace(hungry, held=1, since=_NOW, kept_until=_NOW + 1_800)
    rival = replace(running, held=0, since=None)
    assert plan([kept, rival], 1, usage, {}, {}, _NOW + 1_799).allotments == {"old": 1}
    assert plan([kept, rival], 1, usage, {}, {}, _NOW + 1_800).allotments == {"new": 1}


def test_usage_is_forgotten_by_half_lives() -> None:
    assert decayed(100.0, 86_400.0, 86_400.0) == 50.0
    assert used_since(2, 10.0, 86_400.0) == pytest.approx(20.0, rel=1e-4)
    parts = decayed(used_since(3, 500.0, 86_400.0), 700.0, 86_400.0) + used_since(3, 700.0, 86_400.0)
    assert parts == pytest.approx(used_since(3, 1_200.0, 86_400.0))


@pytest.mark.parametrize(
    ("claims", "slots", "given_facts", "expected"),
    [
        (
            [_claim("x", "anna", each=4)],
            2,
            {},
            "each of its trials takes 4 slots, and this server has 2: it cannot run here",
        ),
        (
            [_claim("a", "anna", held=2, since=_NOW - 100), _claim("x", "anna", submitted_at=_NOW)],
            8,
            {"quotas": {"anna": 2}},
            "a of anna has the 2 slots of the quota",
        ),
        (
            [_claim("a", "ben", 3, held=2, since=_NOW - 100), _claim("x", "anna")],
            2,
            {},
            "a has 2 of 2 slots with higher priority (3; this one has 0)",
        ),
        (
            [_claim("a", "ben", workers=2), _claim("x", "anna", each=4)],
            5,
            {"usage": {"anna": 1e6}},
            "each of its trials takes 4 slots, and 3 of 5 are left",
        ),
        (
            [_claim("a", "anna", workers=1), _claim("b", "ben", workers=1), _claim("x", "anna", submitted_at=_NOW)],
            2,
            {},
            "the share of anna is 1 of 2 slots now, and a has that",
        ),
        (
            [_claim("a", "ben", held=1, since=_NOW - 5), _claim("x", "anna", 3)],
            1,
            {},
            "a has just begun or grown, and may run for at least 60 s",
        ),
        (
            [_claim("a", "ben", held=1, since=_NOW - 5), _claim("x", "anna")],
            1,
            {"usage": {"ben": 1e5}},
            "a has just begun or grown, and may run for at least 60 s",
        ),
        (
            [_claim("a", "ben", held=1, since=_NOW - 100, kept_until=_NOW + 900), _claim("x", "anna", 3)],
            1,
            {},
            "a has a slot since its owner had none for 6.0 h, and it keeps it for 30 min",
        ),
        (
            [_claim("a", "ben", held=1, since=_NOW - 100), _claim("x", "anna")],
            1,
            {"usage": {"ben": 240}},
            "the only slot is in use; anna gets one when another owner has used 5 min of device time more: "
            "ben has used 4 min more",
        ),
        (
            [_claim("a", "ben"), _claim("b", "carl"), _claim("x", "anna")],
            2,
            {"usage": {"ben": 600, "anna": 7_200}},
            "all 2 slots are in use by owners who have used less device time lately: carl none, ben 10 min, anna 2.0 h",
        ),
    ],
)
def test_the_reason_of_waiting_has_figures(
    claims: list[Claim], slots: int, given_facts: dict[str, Any], expected: str
) -> None:
    facts = Facts(claims, slots, _used(given_facts.get("usage", {})), {}, given_facts.get("quotas", {}), _RULES, _NOW)
    made = _planned(claims, slots, **given_facts)
    assert "x" in made.waiting
    assert reasons(made, facts)["x"] == expected


def test_a_study_that_gets_slots_of_another_waits_for_the_end_of_an_epoch() -> None:
    claims = [_claim("a", "ben", held=1, since=_NOW - 100), _claim("x", "anna", 3)]
    facts = Facts(claims, 1, {}, {}, {}, _RULES, _NOW)
    said = reasons(_planned(claims, 1), facts)
    assert said["x"] == "starts when a has given up slots at the end of an epoch"
    assert said["a"] == "x has 1 of 1 slot with higher priority (3; this one has 0)"
