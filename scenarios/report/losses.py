"""Where packets were lost, and of what: the ledger's words for people."""

from __future__ import annotations

from scenarios.report.measured import Json

CAUSES = {          # key of the ledger -> word
    "queue_drops": "queue", "link_losses": "link", "policy_drops": "policy", "fault_losses": "fault",
    "emulator_drops": "emulator", "unexplained": "unexplained",
}
Loss = tuple[str, str, int]     # cause, place, packets


def losses(ledger: Json) -> list[Loss]:
    """Every cause and place that lost packets, most first."""
    found = [(cause, place, int(n)) for key, cause in CAUSES.items()
             for place, n in (ledger.get(key) or {}).items() if n]
    return sorted(found, key=lambda loss: -abs(loss[2]))
