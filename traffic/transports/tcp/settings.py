"""What is set in a host's namespace, so that one run does not spoil the next, and stated in records."""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from topologies.access.netns import inside
from topologies.model.errors import LabError
from topologies.model.spec import TcpSpec
from traffic.runtime.records import TcpSettingsRecord
from traffic.transports.tcp.sockets import unavailable

IPV4 = Path("/proc/sys/net/ipv4")


def prepare_namespace(netns: str, tcp: TcpSpec, host: str = "") -> TcpSettingsRecord:
    """Set the TCP of the namespace /run/netns/`netns` and return what was set.

    tcp_no_metrics_save      a run does not start with what an earlier one learned of the path
    tcp_reflect_tos          who is asked answers in the class of who asks, from the first packet on
    tcp_slow_start_after_idle, tcp_congestion_control    from the spec; programs take them from here
    rto_min, initcwnd        on every IPv4 route of the namespace: whole milliseconds, packets (RFC 6928)

    Raises HostError naming the kernel module where the congestion control is not available.
    """
    path = f"/run/netns/{netns}"
    with inside(path):      # /proc/sys/net shows the namespace of the thread that opens it
        _write("tcp_no_metrics_save", "1")
        _write("tcp_reflect_tos", "1")
        _write("tcp_slow_start_after_idle", str(int(tcp.slow_start_after_idle)))
    try:
        with _allowed(tcp.congestion_control), inside(path):
            _write("tcp_congestion_control", tcp.congestion_control)
    except FileNotFoundError:
        raise unavailable(tcp.congestion_control) from None
    rto = max(round(tcp.rto_min * 1000), 1)
    for route in _routes(netns):
        _ip(netns, "route", "change", *_route_words(route), "rto_min", f"{rto}ms",
            "initcwnd", str(tcp.initial_window))
    return TcpSettingsRecord(
        host=host or netns, congestion_control=tcp.congestion_control, rto_min=rto / 1000,
        slow_start_after_idle=tcp.slow_start_after_idle, no_metrics_save=True, initial_window=tcp.initial_window)


@contextmanager
def _allowed(name: str) -> Iterator[None]:
    """Within the block a namespace may take congestion control `name` as its default.

    The kernel lets a namespace have only what net.ipv4.tcp_allowed_congestion_control lists, one list
    for the whole machine; it asks at the moment of setting only, so the list is put back afterwards.
    """
    with (IPV4 / "tcp_allowed_congestion_control").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = file.read().split()
        if name in before:
            yield
            return
        _load(name)
        _write("tcp_allowed_congestion_control", " ".join([*before, name]))
        try:
            yield
        finally:
            _write("tcp_allowed_congestion_control", " ".join(before))


def _load(name: str) -> None:
    """Have the kernel load the module: naming it for a socket does that, naming it in a list does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock, suppress(OSError):     # the list says what is wrong
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())


def _write(name: str, value: str) -> None:
    (IPV4 / name).write_text(value)


def _ip(netns: str, *words: str) -> str:
    done = subprocess.run(["ip", "-json", "-netns", netns, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"namespace {netns}", f"ip {' '.join(words)} to succeed", done.stderr.strip())
    return done.stdout


def _routes(netns: str) -> list[dict[str, object]]:
    """Routes that packets are sent by."""
    rows: list[dict[str, object]] = json.loads(_ip(netns, "-4", "route", "show", "table", "main") or "[]")
    return [row for row in rows if "dev" in row]        # not unreachable, blackhole, ...


def _route_words(route: dict[str, object]) -> list[str]:
    """The words that name a route for `ip route change`."""
    words = [str(route["dst"])]
    for option, key in (("via", "gateway"), ("dev", "dev"), ("proto", "protocol"), ("scope", "scope"),
                        ("src", "prefsrc"), ("metric", "metric")):
        if key in route:
            words += [option, str(route[key])]
    return words
