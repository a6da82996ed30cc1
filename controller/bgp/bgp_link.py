"""The controller's end of its BGP speaker: start it, tell it what to announce, gather what it hears.

    IntentTransactions ──announce──> BgpLink ──lines──> python -m controller.bgp.speaker ──BGP──> routers
    IntentTransactions <───learn──── BgpLink <──lines──

Nothing here waits for the speaker on behalf of a caller. A speaker that ends is started again; what it had learned
has gone meanwhile, as with any router whose sessions are lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from typing import IO, Any, cast

from controller.bgp.bgp_lines import Key, from_json, key, to_json
from controller.evpn.bgp_import import Learned
from controller.evpn.evpn import AS_NUMBER, Route
from topologies.access import start
from topologies.model.addressing import bgp_link
from topologies.model.inventory import Inventory

LOG = logging.getLogger("aifab.controller.bgp")
AGAIN = 1.0     # seconds until a speaker that has ended is started again
RETRY, LONGEST = 1.0, 30.0  # seconds until routes that could not be installed are tried again, doubled up to LONGEST
GATHER = 0.05   # seconds in which what peers say is taken together: each telling is a change of rules
Learn = Callable[[tuple[Learned, ...]], None]
Json = dict[str, Any]


class BgpLink:
    """One speaker and the peers of a lab."""

    def __init__(self, inventory: Inventory) -> None:
        spec = inventory.fabric.spec.bgp
        peers = spec.peers if spec else {}
        self._netns = inventory.speaker
        self._names = {bgp_link(n)[1]: name for n, name in enumerate(peers, start=1)}
        self._asns = {ip: peers[name].asn for ip, name in self._names.items()}
        self._lock = threading.Lock()
        self._wanted: list[Json] = []
        self._learned: dict[str, dict[Key, Route]] = {ip: {} for ip in self._names}
        self._up: set[str] = set()
        self._input: IO[str] | None = None
        self._due, self._news = threading.Event(), threading.Event()

    def start(self, learn: Learn) -> None:
        """From now on, in threads of its own; `learn` is given all that is known whenever it has changed."""
        if self._names:
            for work in (self._keep_speaker, self._send_for_ever, lambda: self._report_for_ever(learn)):
                threading.Thread(target=work, daemon=True).start()

    def announce(self, routes: Iterable[Route]) -> None:
        """Make these all that the fabric announces."""
        with self._lock:
            self._wanted = [to_json(route) for route in routes]
        self._due.set()

    def peers(self) -> list[Json]:
        """The peers as an operator knows them."""
        with self._lock:
            return [{"peer": name, "ip": ip, "asn": self._asns[ip], "state": "up" if ip in self._up else "down",
                     "received": len(self._learned[ip]), "announced": len(self._wanted) if ip in self._up else 0}
                    for ip, name in self._names.items()]

    # ---- the speaker's process

    def _keep_speaker(self) -> None:
        while True:
            process = subprocess.Popen(start.command("controller.bgp.speaker"), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
            commands, answers = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
            with contextlib.suppress(OSError):      # it has ended already, which is seen below
                commands.write(json.dumps(self._setting()) + "\n")
                commands.flush()
            self._input = commands
            self._due.set()
            for line in answers:
                self._hear(json.loads(line))
            self._input = None
            LOG.error("the BGP speaker has ended (%s); its routes are gone until it is back", process.wait())
            for ip in self._names:
                self._hear({"peer": ip, "up": False})
            time.sleep(AGAIN)

    def _setting(self) -> Json:
        return {"asn": AS_NUMBER, "router_id": bgp_link(1)[0], "netns": f"/run/netns/{self._netns}",
                "neighbors": [{"ip": ip, "asn": asn} for ip, asn in self._asns.items()]}

    def _send_for_ever(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            with self._lock:
                line = json.dumps({"routes": self._wanted})
            speaker = self._input
            try:
                if speaker is not None:
                    speaker.write(line + "\n")
                    speaker.flush()
            except (OSError, ValueError):       # it has just ended: the next one gets it
                LOG.warning("the BGP speaker does not listen")

    # ---- what it says

    def _hear(self, said: Json) -> None:
        ip = said["peer"]
        with self._lock:
            known = self._learned[ip]
            if "learned" in said:
                route = from_json(said["learned"])
                known[key(route)] = route
            elif "gone" in said:
                known.pop(key(from_json(said["gone"])), None)
            elif said["up"]:
                LOG.warning("%s is up", self._names[ip])
                self._up.add(ip)
            else:
                LOG.warning("%s is down", self._names[ip])
                self._up.discard(ip)
                known.clear()
        self._news.set()

    def _report_for_ever(self, learn: Learn) -> None:
        """All that is known, whenever it has changed; again and again while it cannot be installed."""
        failures = 0
        while True:
            self._news.wait(min(RETRY * 2 ** (failures - 1), LONGEST) if failures else None)
            time.sleep(GATHER)
            self._news.clear()
            failures = 0 if self._report(learn) else failures + 1

    def _report(self, learn: Learn) -> bool:
        """Whether what follows from all that is known is installed."""
        with self._lock:
            learned = tuple(Learned(self._names[ip], route)
                            for ip, known in self._learned.items() for route in known.values())
        try:
            learn(learned)
        except Exception:       # a thread that ends would leave every later route unheard
            LOG.exception("what BGP peers have announced could not be installed; it is tried again")
            return False
        return True
