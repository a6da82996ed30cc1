"""aifab analyse: what a capture of RoCEv2 shows of its queue pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from traffic.transports.rocev2.analysis import AnswerFindings, PairFindings, WayFindings

WIDTH = 240         # columns of the widest table: cut off, numbers would say something else


def analyse(
    file: Annotated[Path, typer.Argument(help="a capture (pcap or pcapng); with --received, the sender's")],
    received: Annotated[Path | None, typer.Option(
        "--received", metavar="FILE",
        help="the receiver's capture of the same traffic, stamped by the same clock")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Loss, repeats and order of RoCEv2 queue pairs in a capture, by their PSNs.

    One capture shows which packets were missing, repeated or late where it was taken, and counts ACKs, NAKs and
    congestion notifications (CNPs). A second capture, taken at the other end, also shows what was lost between the
    two and how long packets took. Packets that are left out are counted by kind.

    Examples:

      aifab analyse sends.pcap

      aifab analyse sender.pcap --received receiver.pcap --json

    Exit codes: 0 done, 1 error, 2 usage.
    """
    import json
    from dataclasses import asdict

    from traffic.transports.rocev2.analysis import analysis_of, between_sightings, unmatched
    from traffic.transports.rocev2.sightings import sightings

    seen = sightings(file)
    there = sightings(received) if received is not None else None
    one = analysis_of(seen)
    ways = between_sightings(seen, there) if there is not None else []
    if as_json:
        whole = asdict(one) | {"between": [asdict(w) for w in ways]}
        if there is not None:
            whole["received"] = {"left_out": dict(there.left_out.most_common()), "unordered": there.unordered}
            whole["unmatched"] = {"sent": unmatched(seen, there), "received": unmatched(there, seen)}
        print(json.dumps(whole, indent=1))
        return
    _table(f"RoCEv2 in {file.name}", [_pair(p) for p in one.pairs])
    _table(f"ACKs, NAKs and congestion notifications (CNPs) in {file.name}", [_answer(a) for a in one.answers])
    _notes(file.name, one.left_out, one.unordered, one.frames)
    for p in one.pairs:
        if note := _why_not_reported(p):
            print(note)
    if there is not None and received is not None:
        _table(f"From {file.name} to {received.name}", [_way(w) for w in ways])
        _notes(received.name, there.left_out, there.unordered, there.frames)
        for name, missing in ((file.name, unmatched(seen, there)), (received.name, unmatched(there, seen))):
            for row, packets in missing.items():
                print(f"Only in {name}: {row} ({packets:,} packets), lost or not captured at the other end.")


def _notes(name: str, left_out: Mapping[str, int], unordered: int, frames: int) -> None:
    """What is in none of the tables, and what was done to the capture."""
    if left_out:
        print(f"Left out of the {frames:,} frames of {name}: "
              + "; ".join(f"{count:,} {kind}" for kind, count in left_out.items()) + ".")
    if unordered:
        print(f"{name} is not in the order of time: {unordered:,} frames were put in their places.")


def _why_not_reported(p: PairFindings) -> str:
    if p.joined:
        return (f"{_name(p)}: {p.joined:,} frames hold several packets that the host joined (GRO, GSO), whose PSNs "
                "cannot be read; capture with ethtool -K DEVICE gro off gso off.")
    if p.missing is None and p.carries == "requests":
        return (f"{_name(p)}: what is missing is not reported, as the capture does not show how many PSNs its READs "
                "take.")
    if p.missing is None:
        return f"{_name(p)}: what is missing is not reported, as the requests of these responses were not captured."
    return ""


def _name(p: PairFindings | WayFindings | AnswerFindings) -> str:
    place = f" ({p.place})" if p.place else ""
    return f"{p.src} > {p.dst} #{p.qpn}{place}"


def _pair(p: PairFindings) -> dict[str, str]:
    checked = p.packets - p.icrc_not_captured - p.icrc_unchecked
    return {"queue pair": _name(p), "carries": f"{p.service} {p.carries}", "packets": f"{p.packets:,}",
            "missing": "not reported" if p.missing is None else f"{p.missing:,}", "repeated": f"{p.repeated:,}",
            "go-backs": f"{p.go_backs:,}", "NAKs": f"{p.naks:,}", "late": f"{p.late:,}", "extent": f"{p.late_extent:,}",
            "resent": f"{p.resent:,}", "source ports": f"{p.source_ports:,}",
            "wrong ICRC": f"{p.bad_icrc:,}" if checked else "not checked", "seconds": f"{p.seconds:.3f}"}


def _answer(a: AnswerFindings) -> dict[str, str]:
    counts = {"ACKs": a.acks, "NAKs": a.sequence_naks, "RNR NAKs": a.rnr_naks, "error NAKs": a.error_naks,
              "CNPs": a.cnps}
    return {"to queue pair": _name(a)} | {name: f"{count:,}" for name, count in counts.items()}


def _way(w: WayFindings) -> dict[str, str]:
    return {"queue pair": _name(w), "carries": f"{w.service} {w.carries}{' (back)' if w.back else ''}",
            "sent": f"{w.sent:,}",
            "received": f"{w.received:,}",
            "lost": "not reported" if w.lost_ppm is None else f"{w.lost_ppm:,.0f} ppm", "matched": f"{w.matched:,}",
            "latency": _ms(w.latency), "p99": _ms(w.latency_p99), "max": _ms(w.latency_max), "PDV p99": _ms(w.pdv_p99),
            "reordered": f"{w.reordered:,}", "extent": f"{w.reorder_extent:,}"}


def _ms(seconds: float | None) -> str:
    return "too few" if seconds is None else f"{seconds * 1e3:.3f} ms"


def _table(title: str, rows: Sequence[Mapping[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        words = column.endswith("queue pair") or column == "carries"
        table.add_column(column, justify="left" if words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    Console(width=WIDTH).print(table)
