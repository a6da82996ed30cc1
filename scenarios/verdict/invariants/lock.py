"""Invariant 7: one measuring run at a time on this machine. Without the lock SUSPECT."""

from __future__ import annotations

from scenarios.verdict.invariants.evidence import Check, Evidence, Level, Reason, unchecked

NUMBER, NAME = 7, "lock"


def check(evidence: Evidence) -> Check:
    """Whether the machine-wide lock was held."""
    if evidence.locked is None:
        return unchecked(NUMBER, "it is not known whether the run held the lock")
    if evidence.locked:
        return Check(NUMBER, "the only measuring run on this machine")
    text = "the run did not hold the machine's measuring lock (--no-lock): another run may have been active"
    return Check(NUMBER, text, (Reason(NAME, Level.SUSPECT, text),))
