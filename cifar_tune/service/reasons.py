"""Why a study waits, in a sentence with figures."""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace

from cifar_tune.errors import enumerate_names
from cifar_tune.service.scheduling import NOTHING, Claim, Plan, Rules, Used
from cifar_tune.wording import counted, rough_duration

_NAMED = 3
"""This many studies or people are named in a sentence; of more, the rest are counted."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the plan was made from; see `scheduling.plan`."""

    claims: Sequence[Claim]
    slots: int
    usage: Mapping[str, Used]
    weights: Mapping[str, float]
    quotas: Mapping[str, int]
    rules: Rules
    now: float

    def used(self, owner: str) -> float:
        """Device seconds per weight that an owner has used lately."""
        return self.usage.get(owner, NOTHING).device_seconds / self.weights.get(owner, 1.0)


def reasons(plan: Plan, facts: Facts) -> dict[str, str]:
    """Why each study without slots waits: one that gets nothing, and one that gets slots which are not free yet."""
    by_study = {claim.study: claim for claim in facts.claims}
    # hundreds may wait, and few have slots: each of the former looks at the latter alone
    holders = replace(facts, claims=sorted((by_study[study] for study in plan.allotments), key=lambda each: each.age))
    found = {study: _why_nothing(by_study[study], plan, holders) for study in plan.waiting}
    for study in plan.allotments:
        if not by_study[study].held:
            found[study] = _why_not_yet(plan)
    return found


def waits_for(studies: Sequence[str]) -> str:
    """Why a study waits that gets slots of others."""
    have = "has" if len(studies) == 1 else "have"
    return f"starts when {_named(studies)} {have} given up slots at the end of an epoch"


def _why_not_yet(plan: Plan) -> str:
    if not plan.preempted:
        return "starts now"
    return waits_for(sorted(plan.preempted))


def _why_nothing(claim: Claim, plan: Plan, facts: Facts) -> str:
    """From here on, the claims among the facts are those that have slots, the oldest first."""
    return next(sentence for reason in _REASONS if (sentence := reason(claim, plan, facts)))


def _too_large(claim: Claim, _plan: Plan, facts: Facts) -> str:
    if not facts.slots:
        return "the cluster has no machine at the moment"
    if claim.each <= facts.slots:
        return ""
    return (
        f"each of its trials takes {counted(claim.each, 'slot')}, and this server has {facts.slots}: it cannot run here"
    )


def _quota(claim: Claim, plan: Plan, facts: Facts) -> str:
    quota = facts.quotas.get(claim.owner)
    if quota is None:
        return ""
    if claim.each > quota:
        return f"each of its trials takes {counted(claim.each, 'slot')}, and the quota of {claim.owner} is {quota}"
    own = _slots_by_study(plan, facts, claim.owner)
    if sum(own.values()) + claim.each <= quota:
        return ""
    return f"{_named(list(own))} of {claim.owner} {_have(own)} the {counted(quota, 'slot')} of the quota"


def _priority(claim: Claim, plan: Plan, facts: Facts) -> str:
    priorities = {other.study: other.priority for other in facts.claims}
    used = _slots_by_study(plan, facts)
    higher = {study: count for study, count in used.items() if priorities[study] > claim.priority}
    if not higher or sum(higher.values()) + claim.each <= facts.slots:
        return ""
    found = {priorities[study] for study in higher}
    first = f"up to {max(found)}" if len(found) > 1 else f"{max(found)}"
    return (
        f"{_named(list(higher))} {_have(higher)} {sum(higher.values())} of {counted(facts.slots, 'slot')} "
        f"with higher priority ({first}; this one has {claim.priority})"
    )


def _no_room(claim: Claim, plan: Plan, facts: Facts) -> str:
    if not plan.free:
        return ""
    return f"each of its trials takes {counted(claim.each, 'slot')}, and {plan.free} of {facts.slots} are left"


def _own_studies(claim: Claim, plan: Plan, facts: Facts) -> str:
    own = _slots_by_study(plan, facts, claim.owner)
    if not own:
        return ""
    share = f"{sum(own.values())} of {counted(facts.slots, 'slot')}"
    return f"the share of {claim.owner} is {share} now, and {_named(list(own))} {_have(own)} that"


def _kept(claim: Claim, plan: Plan, facts: Facts) -> str:
    """Others come later in the order, and keep their slots for a while all the same."""
    due = facts.used(claim.owner) + facts.rules.margin
    later = [
        each
        for each in facts.claims
        if each.priority < claim.priority or (each.priority == claim.priority and facts.used(each.owner) > due)
    ]
    begun = [each.study for each in later if each.since is not None and facts.now - each.since < facts.rules.min_run]
    if begun:
        have = "has just begun or grown" if len(begun) == 1 else "have just begun or grown"
        return f"{_named(begun)} {have}, and may run for at least {rough_duration(facts.rules.min_run)}"
    hungry = [each.study for each in later if each.study in plan.favoured or facts.now < each.kept_until]
    if hungry:
        had, keep = ("its owner", "it keeps") if len(hungry) == 1 else ("their owners", "they keep")
        favour = rough_duration(facts.rules.favour)
        patience = rough_duration(facts.rules.patience)
        return (
            f"{_named(hungry)} {_have(hungry)} a slot since {had} had none for {patience}, and {keep} it for {favour}"
        )
    return ""


def _fair_share(claim: Claim, plan: Plan, facts: Facts) -> str:
    used = facts.used
    rivals = sorted({other.owner for other in facts.claims}, key=used)
    mine = used(claim.owner)
    most = rivals[-1]
    unit = "device time" if set(facts.weights.values()) <= {1.0} else "device time per weight"
    all_used = f"all {facts.slots} slots are in use" if facts.slots > 1 else "the only slot is in use"
    if used(most) > mine:
        ahead = rough_duration(used(most) - mine)
        margin = rough_duration(facts.rules.margin)
        return (
            f"{all_used}; {claim.owner} gets one when another owner has used {margin} of {unit} more: "
            f"{most} has used {ahead} more"
        )
    others = ", ".join(f"{owner} {_time(used(owner))}" for owner in rivals[:_NAMED])
    return f"{all_used} by owners who have used less {unit} lately: {others}, {claim.owner} {_time(mine)}"


_REASONS: Sequence[Callable[[Claim, Plan, Facts], str]] = (
    _too_large,
    _quota,
    _priority,
    _kept,
    _no_room,
    _own_studies,
    _fair_share,
)
"""The first one that applies is told; the last one always does."""


def _slots_by_study(plan: Plan, facts: Facts, owner: str | None = None) -> dict[str, int]:
    return {
        claim.study: plan.allotments[claim.study] * claim.each for claim in facts.claims if owner in (None, claim.owner)
    }


def _named(studies: Sequence[str]) -> str:
    if len(studies) <= _NAMED:
        return enumerate_names(studies, "and")
    return f"{', '.join(studies[: _NAMED - 1])} and {len(studies) - _NAMED + 1} more"


def _have(studies: Sized) -> str:
    return "has" if len(studies) == 1 else "have"


def _time(seconds: float) -> str:
    return rough_duration(seconds) if seconds else "none"
