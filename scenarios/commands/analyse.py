"""aifab analyse: what a capture of RoCEv2 tells of its queue pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from traffic.roce.analysis import PairFindings, WayFindings

WIDTH = 180         # columns of the widest table: cut off, numbers would say something else


def analyse(
    file: Annotated[Path, typer.Argument(help="a pcap file of Ethernet frames; with --received, the sender's")],
    received: Annotated[Path | None, typer.Option(
        "--received", metavar="FILE",
        help="the receiver's capture of the same traffic, stamped by the same clock")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Loss, repeats and order of RoCEv2 queue pairs in a capture, by their PSNs.

    One capture tells what is missing, repeated and late at its place. With a second one at the other end also what
    was lost between the two and how long packets took.

    Examples:

      aifab analyse writes.pcap

      aifab analyse sender.pcap --received receiver.pcap --json

    Exit codes: 0 done, 1 error, 2 usage.
    """
    import json
    from dataclasses import asdict

    from traffic.roce.analysis import between, findings

    pairs = findings(file)
    ways = between(file, received) if received is not None else []
    if as_json:
        print(json.dumps({"pairs": [asdict(p) for p in pairs], "between": [asdict(w) for w in ways]}, indent=1))
        return
    _table(f"RoCEv2 in {file.name}", [_pair(p) for p in pairs])
    if ways:
        _table(f"From {file.name} to {received.name if received else ''}", [_way(w) for w in ways])


def _pair(p: PairFindings) -> dict[str, str]:
    icrc = f"{p.bad_icrc:,}" if p.icrc_not_captured < p.packets else "not captured"
    return {"queue pair": f"{p.src} > {p.dst} #{p.qpn}", "packets": f"{p.packets:,}",
            "missing": "not told (reads)" if p.missing is None else f"{p.missing:,}", "repeated": f"{p.repeated:,}",
            "go-backs": f"{p.go_backs:,}", "NAKs": f"{p.naks:,}", "late": f"{p.late:,}", "extent": f"{p.late_extent:,}",
            "source ports": f"{p.source_ports:,}", "wrong ICRC": icrc, "seconds": f"{p.seconds:.3f}"}


def _way(w: WayFindings) -> dict[str, str]:
    return {"queue pair": f"{w.src} > {w.dst} #{w.qpn}", "sent": f"{w.sent:,}", "received": f"{w.received:,}",
            "lost": f"{w.lost_ppm:,.0f} ppm", "matched": f"{w.matched:,}", "latency": _ms(w.latency),
            "p99": _ms(w.latency_p99), "max": _ms(w.latency_max), "PDV p99": _ms(w.pdv_p99),
            "reordered": f"{w.reordered:,}", "extent": f"{w.reorder_extent:,}"}


def _ms(seconds: float | None) -> str:
    return "too few" if seconds is None else f"{seconds * 1e3:.3f} ms"


def _table(title: str, rows: Sequence[Mapping[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "queue pair" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    Console(width=WIDTH).print(table)
