"""Invariant 6: packet accounting balances to the packet.

    sent = received + queue drops + link losses + policy drops + emulator drops + losses in declared faults

Anything else is INVALID. Emulator drops are invariant 3's matter as well: they have a name, and none is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator

from scenarios.verdict.invariants.evidence import Accounting, Check, Evidence, Level, Reason, plural, unchecked

NUMBER, NAME = 6, "ledger"
PARTS = ("queue_drops", "link_losses", "policy_drops", "emulator_drops", "fault_losses")


def check(evidence: Evidence) -> Check:
    """The sum, worked out again here, and the ledger's own word on every hop."""
    ledger = evidence.ledger
    if ledger is None:
        return unchecked(NUMBER, "packets were not accounted for")
    named = {part: sum(ledger.get(part, {}).values()) for part in PARTS}
    rest = ledger["sent"] - ledger["received"] - sum(named.values())
    reasons = (*_reasons(ledger, rest, {f.name for f in evidence.faults}), *_without_controller(evidence))
    text = (f"sent {ledger['sent']:,} = received {ledger['received']:,} + "
            + " + ".join(f"{part.replace('_', ' ')} {n:,}" for part, n in named.items())
            + (f" + {rest:,} without a name" if rest else ", to the packet"))
    return Check(NUMBER, text, reasons, {"sent": ledger["sent"], "received": ledger["received"], "rest": rest, **named})


def _reasons(ledger: Accounting, rest: int, faults: set[str]) -> Iterator[Reason]:
    for place, n in ledger["unexplained"].items():
        if n:
            yield Reason(NAME, Level.INVALID, f"the ledger misses {plural(abs(n), 'packet')} at {place}"
                         if n > 0 else f"{plural(-n, 'packet')} more came out of {place} than went in", n, 0, place)
    if rest:
        yield Reason(NAME, Level.INVALID, f"{plural(ledger['sent'], 'packet')} were sent, and the received ones and "
                     f"the named drops differ from that by {abs(rest):,}; the limit is 0", rest, 0)
    for name, n in ledger["fault_losses"].items():
        if n and name not in faults:
            yield Reason(NAME, Level.INVALID, f"{plural(n, 'packet')} belong to the fault {name}, which was not "
                         "declared", n, 0, name)
    if not ledger["balances"] and not rest and not any(ledger["unexplained"].values()):
        waiting = ledger.get("in_queues", 0)
        yield Reason(NAME, Level.INVALID, f"packets were accounted for while {plural(waiting, 'packet')} still waited "
                     "in queues" if waiting else "the ledger says that its packet accounting does not balance",
                     waiting, 0)


def _without_controller(evidence: Evidence) -> Iterator[Reason]:
    """Forwarding goes on without it; but nothing is done about failures, and rules that it removed are not counted."""
    if evidence.controller_ended:
        yield Reason(NAME, Level.SUSPECT, "the controller ended while the run went on; the counts of drop rules were "
                     "read from the switches", where="controller")
