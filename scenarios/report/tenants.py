"""VPCs in a report: how long each move took, whether isolation held, and what others lost meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scenarios.report.data import RunData
from scenarios.report.measured import Json
from scenarios.report.text import number, percent, plural, quantity
from scenarios.spec.vpc_schedule import at_start, changes_of, places, untouched
from traffic.transports.udp.records import StreamRecord

Row = tuple[str, ...]


@dataclass(frozen=True)
class Beside:
    """A stream in a phase whose changes touch none of its VPCs; packets."""

    phase: str
    stream: str
    pair: str
    vpcs: tuple[str, ...]
    sent: int
    lost: int


def beside(data: RunData) -> list[Beside]:
    """Streams of untouched VPCs, in every phase that has changed any."""
    found = []
    for phase in data.scenario.phases:
        if not changes_of(data.scenario, phase.name):
            continue
        alone, at = untouched(data.scenario, phase.name), places(at_start(data.scenario, phase.name))
        for r in (r for r in data.records[StreamRecord] if r.phase == phase.name):
            vpcs = {at.get(host, "").split("/")[0] for host in (r.src, r.dst)}
            if vpcs <= alone:
                found.append(Beside(phase.name, r.stream, f"{r.src}->{r.dst}", tuple(sorted(vpcs)), r.sent, r.lost))
    return found


def sentences(data: RunData) -> list[str]:
    """What the answer says of VPCs; nothing where there are none."""
    tenants = data.tenants or {}
    return [s for s in (_moves(tenants.get("changes", [])), _isolation(tenants.get("proofs", [])),
                        _untouched(beside(data))) if s]


def _moves(changes: list[Json]) -> str:
    if not changes:
        return ""
    hosts = [host for c in changes for host in c["moves"]]
    seconds, rules = ([c[key] for c in changes] for key in ("seconds", "rules"))
    late = sorted({switch for c in changes for switch in c["pending"]})
    return (f"{plural(len(hosts), 'move')} of {plural(len(set(hosts)), 'host')} between VPCs took "
            f"{_range(seconds)} each; all switches held the new rules after {_range(rules)}."
            + (f" Not confirmed in time by {', '.join(late)}." if late else ""))


def _range(seconds: list[float]) -> str:
    low, high = quantity(min(seconds), "s"), quantity(max(seconds), "s")
    return low if low == high else f"{low} to {high}"


def _isolation(proofs: list[Json]) -> str:
    if not proofs:
        return ""
    wrong = [(p["when"], f["source"], f["heard"]) for p in proofs for f in p["false_allows"]]
    missing = [(p["when"], f["source"], f["target"]) for p in proofs for f in p["false_denies"]]
    short = sum(len(p["uncounted"]) for p in proofs)
    tested = f"{plural(len(proofs), 'proof')} by packets over all {number(proofs[0]['pairs'])} pairs of hosts"
    if not wrong and not missing and not short:
        return (f"Isolation held in {tested}: every allowed pair got through and no other pair did; "
                f"{plural(sum(p['drops'] for p in proofs), 'packet')} of the proofs were dropped by policy, as they "
                "should be.")
    found = [f"{plural(len(wrong), 'packet')} got through that policy should have dropped (first {_pair(wrong[0])})"
             if wrong else "",
             f"{plural(len(missing), 'allowed pair')} did not get through (first {_pair(missing[0])})"
             if missing else "", f"{plural(short, 'drop rule')} counted too few packets" if short else ""]
    return f"Isolation failed in {tested}: {'; '.join(f for f in found if f)}."


def _pair(found: tuple[str, str, str]) -> str:
    when, source, target = found
    return f"{source}->{target} {when}"


def _untouched(streams: list[Beside]) -> str:
    if not streams:
        return ""
    vpcs = ", ".join(sorted({v for s in streams for v in s.vpcs}))
    sent, lost = sum(s.sent for s in streams), sum(s.lost for s in streams)
    what = f"{number(lost)} of" if lost else "none of"
    return f"Streams in VPCs without a move ({vpcs}) lost {what} {plural(sent, 'packet')} meanwhile."


def share_rows(data: RunData) -> Iterator[Row]:
    """time, phase, class, its minimum and maximum from then on, how long the change took."""
    for c in (data.tenants or {}).get("shares", []):
        for name, share in c["classes"].items():
            yield (f"{c['t']:.2f} s", c["phase"], name, percent(share["min"]), percent(share["max"]),
                   quantity(c["seconds"], "s"))


def move_rows(data: RunData) -> Iterator[Row]:
    """time, phase, host, from, to, rules on all switches after, host readdressed after."""
    for c in (data.tenants or {}).get("changes", []):
        for host, (before, after) in c["moves"].items():
            yield (f"{c['t']:.2f} s", c["phase"], host, before, after, quantity(c["rules"], "s"),
                   quantity(c["seconds"], "s"))


def proof_rows(data: RunData) -> Iterator[Row]:
    """time, when, pairs, of them allowed and denied, false allows, false denies, drop rules short."""
    for p in (data.tenants or {}).get("proofs", []):
        yield (f"{p['t']:.2f} s", p["when"], number(p["pairs"]), number(p["allowed"]), number(p["denied"]),
               *(number(len(p[key])) for key in ("false_allows", "false_denies", "uncounted")))


def beside_rows(data: RunData) -> Iterator[Row]:
    """phase, stream, pair, VPC, sent, lost."""
    for b in beside(data):
        yield b.phase, b.stream, b.pair, ", ".join(b.vpcs), number(b.sent), number(b.lost)
