"""Frames of directions of the engine as a capture on standard output, as `tcpdump -w -` writes one.

    python -m topologies.switches.engine.capture --engine SOCKET [--packets N] leaf1->spine1 [spine1->leaf1]

pcap with nanoseconds (draft-ietf-opsawg-pcap), link type Ethernet; a frame's time is when it began to be sent.
"""

from __future__ import annotations

import argparse
import os
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from topologies.access.process import die_with_parent
from topologies.model.errors import HostError, LabError

HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)


def record(line: str, offset: int) -> bytes:
    """Of `event frame A->B TIME LENGTH HEX`. offset: ns from CLOCK_MONOTONIC to the time of day."""
    _, _, _, at, length, octets = line.split()
    frame, when = bytes.fromhex(octets), int(at) + offset
    return struct.pack("<IIII", when // 10**9, when % 10**9, len(frame), int(length)) + frame


def capture(path: Path, directions: Sequence[str], packets: int, out: int) -> None:
    """Until `packets` frames are written (0: for ever), or the reader has gone. Raises HostError."""
    os.write(out, HEADER)
    offset, left = time.time_ns() - time.monotonic_ns(), packets
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as engine:
        engine.connect(str(path))
        engine.sendall("".join(f"capture {d}\n" for d in directions).encode())
        for line in engine.makefile("r", encoding="ascii", errors="replace"):
            if line.startswith("error"):
                raise HostError("fabric engine: capture", "directions of the lab", line.strip())
            if line.startswith("event frame "):
                os.write(out, record(line, offset))
                left -= 1
                if left == 0:
                    return
    raise HostError(f"fabric engine at {path}", "frames until it is told to stop", "the end of the connection")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when all is captured, or nobody reads any more; 1 for an error."""
    parser = argparse.ArgumentParser(prog="python -m topologies.switches.engine.capture",
                                     description="Capture frames of a running lab's fabric engine.")
    parser.add_argument("--engine", type=Path, required=True, help="the engine's control socket")
    parser.add_argument("--packets", type=int, default=0, help="how many; 0: until interrupted")
    parser.add_argument("directions", nargs="+", metavar="A->B")
    chosen = parser.parse_args(arguments)
    die_with_parent()
    try:
        capture(chosen.engine, chosen.directions, chosen.packets, sys.stdout.fileno())
    except (BrokenPipeError, KeyboardInterrupt):
        return 0
    except (LabError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
