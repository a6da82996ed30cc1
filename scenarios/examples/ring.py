"""A ring all-gather over plain TCP sockets: what `aifab exec --ranks` starts on every host.

    sudo aifab exec --ranks 8 -- .venv/bin/python scenarios/examples/ring.py

It knows nothing of the lab but the variables that every launcher sets. Each rank tells rank 0 where it
listens, learns where the next one does, and then passes on what it gets, n - 1 times round the ring.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time

COUNT = 65_536      # numbers of 4 bytes in the buffer of each rank


def read(sock: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes."""
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError("the peer has gone")
        data += piece
    return bytes(data)


def connect(address: tuple[str, int]) -> socket.socket:
    """A connection to whoever listens there, or will within 20 seconds."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(address, timeout=20)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def meet(rank: int, size: int, master: tuple[str, int], mine: int) -> list[tuple[str, int]]:
    """Where each rank listens; rank 0 collects the ports and hands out the list."""
    if rank == 0:
        with socket.create_server(master) as server:
            found, peers = {0: (master[0], mine)}, []
            while len(found) < size:
                peer, (host, _) = server.accept()
                line = peer.makefile().readline().split()
                found[int(line[0])] = (host, int(line[1]))
                peers.append(peer)
            text = json.dumps([found[r] for r in range(size)]) + "\n"
            for peer in peers:
                peer.sendall(text.encode())
                peer.close()
            return [found[r] for r in range(size)]
    with connect(master) as sock:
        sock.sendall(f"{rank} {mine}\n".encode())
        return [(host, port) for host, port in json.loads(sock.makefile().readline())]


def all_gather(rank: int, size: int, values: bytes, before: socket.socket, after: socket.socket) -> list[bytes]:
    """Everybody's values by rank: n - 1 steps, each passes on what the last one brought."""
    found = {rank: values}
    for step in range(size - 1):
        outgoing = threading.Thread(target=after.sendall, args=(found[(rank - step) % size],))
        outgoing.start()
        found[(rank - step - 1) % size] = read(before, len(values))
        outgoing.join()
    return [found[r] for r in range(size)]


def main() -> int:
    """0 if every rank's contribution arrived everywhere."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    master = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    with socket.create_server(("", 0)) as server:
        addresses = meet(rank, size, master, server.getsockname()[1])
        after = connect(addresses[(rank + 1) % size])
        before = server.accept()[0]
    start = time.monotonic()
    parts = all_gather(rank, size, bytes([rank % 256]) * (4 * COUNT), before, after)
    seconds = time.monotonic() - start
    right = all(part == bytes([r % 256]) * (4 * COUNT) for r, part in enumerate(parts))
    moved = 4 * COUNT * (size - 1)
    print(f"{'right' if right else 'WRONG'}: {moved} bytes in {seconds:.3f} s, {8e-6 * moved / seconds:.2f} Mbit/s")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
