"""Our one-way latency against tcpdump's time stamps at both hosts."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from scenarios.run.lab import Lab
from scenarios.run.waits import wait_for
from tests.bench.book import Book
from tests.bench.labs import Row, lab_alone, of_kind, run_streams
from topologies.model.load import load_fabric
from traffic.transports.udp.pcap import pcap_one_way
from traffic.workloads.specs import StreamSpec

LIMIT = 100e-6
SOURCE, DESTINATION = "h1", "h5"
CAPTURE_START, CAPTURE_END = 10.0, 20.0     # seconds
FRAME = SNAP = 128      # whole frames are captured, so that the size of a file tells their number
PCAP_HEADER, PACKET_HEADER = 24, 16     # bytes, pcap-savefile(5)


def latency(book: Book) -> None:
    """One-way latency of a 1 kHz stream: p50 within 100 microseconds of tcpdump's stamps at both hosts."""
    repeats, count = (1, 1000) if book.quick else (5, 10_000)
    stream = StreamSpec(kind="udp", pairs=((SOURCE, DESTINATION),), pps=1000, frame=FRAME, count=count)
    with lab_alone(load_fabric("small")) as it:
        differences, detail = [], []
        for seed in range(1, repeats + 1):
            ours, theirs = _both(it, stream, book.work, seed)
            common = sorted(ours.keys() & theirs.keys())
            middle = median(ours[n] for n in common), median(theirs[n] for n in common)
            differences.append(middle[0] - middle[1])
            detail.append({"packets": len(common), "ours_p50": middle[0], "tcpdump_p50": middle[1],
                           "per_packet_p50": median(ours[n] - theirs[n] for n in common)})
            print(f"    {len(common)} packets in both: ours p50 {middle[0] * 1e6:.0f} us, "
                  f"tcpdump's {middle[1] * 1e6:.0f} us", flush=True)
    book.median("ours p50 - tcpdump's p50", [d * 1e6 for d in differences], "us",
                target=f"each within {LIMIT * 1e6:.0f} us", met=all(abs(d) <= LIMIT for d in differences), runs=detail)


def _both(it: Lab, stream: StreamSpec, work: Path, seed: int) -> tuple[dict[int, float], dict[int, float]]:
    """Sequence number -> one-way delay in seconds, by our stamps and by the captures'."""
    paths = {host: work / f"{seed}-{host}.pcap" for host in (SOURCE, DESTINATION)}
    with ExitStack() as captures:
        for host, path in paths.items():
            captures.enter_context(_capture(it, host, path))
        records = run_streams(it, {"probe": stream}, work, seed)
        received = of_kind(records, "stream")[0]["received"]
        size = PCAP_HEADER + received * (PACKET_HEADER + SNAP)
        for path in paths.values():     # tcpdump writes behind; it gets the time that it needs
            wait_for(f"{received} packets in {path}", partial(_holds, path, size), CAPTURE_END)
    theirs = pcap_one_way(paths[SOURCE], paths[DESTINATION])
    return _delays(records), {seq: delay for (_, seq), delay in theirs.items()}


def _delays(records: list[Row]) -> dict[int, float]:
    """Sequence number -> seconds, from the packets' records; lost ones are left out."""
    return {p["first_seq"] + i * p["step"]: delay for p in of_kind(records, "packets")
            for i, delay in enumerate(p["delay"]) if delay is not None}


def _holds(path: Path, size: int) -> bool:
    return path.stat().st_size >= size


@contextmanager
def _capture(it: Lab, host: str, path: Path) -> Iterator[None]:
    """tcpdump on a host's interface, listening when the block begins, ended by SIGINT so that it writes all."""
    reported = path.with_suffix(".log")
    with reported.open("wb") as file:
        process = subprocess.Popen(
            ["ip", "netns", "exec", it.inventory.netns[host], "tcpdump", "-i", f"{host}-eth0", "-w", str(path), "-n",
             "-U", "-Z", "root", "-B", "16384", "-s", str(SNAP), "--immediate-mode", "--time-stamp-precision=nano",
             "udp"],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        wait_for(f"tcpdump on {host}", lambda: "listening on" in reported.read_text(), CAPTURE_START,
                 f"its words are in {reported}")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(CAPTURE_END)
