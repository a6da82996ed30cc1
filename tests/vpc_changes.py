"""Changes of VPCs and of shares of classes under traffic: what untouched VPCs lose; how soon a peering works."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack

from controller.northbound.client import ControllerClient
from scenarios.run.live_shares import change_shares
from scenarios.run.vpcs import apply_intent
from scenarios.run.waits import wait_for
from tests.drawn_intents import Changing
from tests.stream_1khz import Stream
from tests.unit.intents import Spec, attach, intent, peer, vpc
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec

CLASSES = {"gold": {"dscp": 46, "min": "30%", "vpcs": ["flat"]}, "silver": {"dscp": 26, "min": "20%", "vpcs": ["v0"]}}
SHARES = ("10%", "25%", "40%")      # that fit one link in any pairing
OF_SHARES = 5       # each so many-th change, on average, is one of a class's share
FABRIC = FabricSpec.model_validate({
    "name": "changes", "leaves": 2, "spines": 2, "hosts_per_leaf": 6, "probes": False, "classes": CLASSES})
# One stream is bridged over the fabric, in a class, one routed, in none: h1 to h7 and h2 to h8, on leaf1 and leaf2.
KEPT: list[Spec] = [vpc("flat", {"x": "10.1.0.0/24"}), vpc("routed", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"}),
                    attach("h1", "flat/x"), attach("h7", "flat/x"), attach("h2", "routed/x"), attach("h8", "routed/y")]
STREAMS = (("h1", "h7"), ("h2", "h8"))
FREE = [f"h{n}" for n in range(1, 13) if f"h{n}" not in {"h1", "h2", "h7", "h8"}]
BEFORE = 50         # datagrams of a stream before the first change, or before a peering is asked for
SOON = 10.0         # seconds for a stream to send them, and for a peering to let one through


def through_changes(inventory: Inventory, count: int, seed: int) -> tuple[list[Stream], list[str], list[float]]:
    """Two streams in VPCs that stay as they are, through `count` drawn changes of everything else.

    Returns the streams, the changes, and the seconds that each took.
    """
    draw = random.Random(seed)  # noqa: S311 - it draws an example
    changing = Changing(inventory.fabric, FREE, draw, KEPT)
    apply_intent(inventory, changing.intent)
    changes, seconds = [], []
    with ExitStack() as stack:
        streams = [stack.enter_context(_stream(inventory, *pair)) for pair in STREAMS]
        for stream in streams:
            wait_for("a stream to flow", lambda s=stream: s.sent > BEFORE, SOON)  # type: ignore[misc]
        for _ in range(count):
            if draw.randrange(OF_SHARES) == 0:
                changes.append("share")
                seconds.append(change_shares(inventory, draw.choice(list(CLASSES)), draw.choice(SHARES), None)[1])
            else:
                changes.append(changing.step())
                seconds.append(float(apply_intent(inventory, changing.intent)["seconds"]))
    return streams, changes, seconds


def _stream(inventory: Inventory, source: str, target: str) -> Stream:
    hosts = ControllerClient(inventory.api_socket).intent()["hosts"]
    return Stream(inventory, source, target, hosts[source]["ip"], hosts[target]["ip"])


def until_a_peering_works(inventory: Inventory) -> float:
    """Seconds from asking for a peering to the first datagram of 1 kHz that it lets through, sent on another leaf."""
    apart = [vpc("one", {"x": "10.1.0.0/24"}), vpc("two", {"x": "10.2.0.0/24"}),
             attach("h1", "one/x"), attach("h7", "two/x")]
    apply_intent(inventory, intent(*apart))
    with _stream(inventory, "h1", "h7") as stream:
        wait_for("a stream to flow", lambda: stream.sent > BEFORE, SOON)
        asked = time.monotonic()
        apply_intent(inventory, intent(*apart, peer(one=[], two=[])))
        answered = stream.sent
        wait_for("datagrams after the peering", lambda: stream.sent > answered + BEFORE, SOON)
    return stream.times[min(stream.arrived)] - asked
