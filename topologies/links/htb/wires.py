"""Every link is a wire: two veth pairs whose inner ends are redirected into each other's queue.

      X (host or switch)          wiring namespace               Y
      X-eth1 ----veth---- w3a ==ingress redirect==> w3b's queue ----veth---- Y-eth2
                     w3a's queue <==ingress redirect== w3b

Each direction is queued where it leaves the wiring namespace: HTB at the link's rate, and a bfifo
that drops from the tail and counts each drop. A *host's* own sending direction is shaped at the
host instead (a wire gives TCP no backpressure, so its first queue would overflow), with a queue
long enough never to drop a well-behaved sender.

Every shaped device has a second class beside the link's rate, for the lab's own sentinel probes
(DSCP 63): it shares the CPU with the emulation but no bandwidth, so its delay is the emulator's.

    1: htb ---- 1:10 at the link's rate ---- (2: netem) ---- 10: bfifo      everything (or red, fq_codel)
          `---- 1:5  out of band ---------------------------- 5: bfifo      sentinel probes

A token bucket lets an isolated frame through at once and makes the next one wait: bandwidth and
queueing are exact, but a frame that meets empty queues does not pay for its own serialisation
(docs/decisions/003-isolated-frames.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from topologies.lab.shell import run, tc_batch
from topologies.links.htb.classes import WireClass, class_lines, htb_words, wire_classes
from topologies.links.htb.disciplines import queue_words
from topologies.links.htb.qdisc import TRAFFIC_QUEUE
from topologies.model.addressing import SENTINEL_DSCP, VXLAN_OVERHEAD
from topologies.model.errors import HostError
from topologies.model.fabric import Fabric, Link
from topologies.model.inventory import Inventory, WireDevices
from topologies.switches.datapath import Direction

HOST_QUEUE = 4_000_000      # bytes; the socket buffer, not this queue, stops a TCP sender
HOST_FIFO = f"bfifo limit {HOST_QUEUE}"
SENTINEL_RATE = 100_000_000     # bit/s, beside the link's own rate
SENTINEL_QUEUE = 100_000        # bytes
UNSHAPED_RATE = 10e9            # bit/s, where a wire only delays
NETEM_LIMIT = 100_000           # packets; a delay must never drop


def devices(fabric: Fabric) -> dict[str, WireDevices]:
    """Link -> its two devices, named by number: interface names have 15 characters at most."""
    return {k.name: WireDevices(a=f"w{i}a", b=f"w{i}b") for i, k in enumerate(fabric.links)}


def burst(link: Link, rate: float) -> int:
    """HTB burst in bytes: two of the largest frames, or one millisecond of the rate if that is more."""
    largest = link.max_frame + (VXLAN_OVERHEAD if link.kind == "access" else 0)
    return max(2 * largest, int(rate / 8 / 1000))


def _rate(link: Link, rate: float) -> str:
    b = burst(link, rate)
    return f"htb rate {round(rate)}bit ceil {round(rate)}bit burst {b} cburst {b} quantum {link.max_frame + 100}"


def impairment_words(link: Link) -> str:
    """netem's words for what a link does to its packets before they are queued."""
    words = ["netem"]
    if link.delay:
        words.append(f"delay {link.delay * 1e6:.0f}us" + (f" {link.jitter * 1e6:.0f}us" if link.jitter else ""))
    if link.loss:
        words.append(f"loss random {link.loss * 100:.10g}%")
    if link.reorder:
        words.append(f"reorder {link.reorder * 100:.10g}%")
    return " ".join([*words, f"limit {NETEM_LIMIT}"])


def shaper(device: str, link: Link, rate: float, queue: str, sentinel: bool, impaired: bool = False,
           classes: Sequence[WireClass] = ()) -> Iterator[str]:
    """tc lines that shape what leaves `device`: rate bit/s, queue in tc's words, impairments before it if asked.

    With classes each has a queue of its own, as long as the one that the wire would have without.
    """
    yield f"qdisc add dev {device} root handle 1: htb default 10"
    yield f"class add dev {device} parent 1: classid 1:{'1' if classes else '10'} {_rate(link, rate)}"
    for c in classes:
        yield from class_lines(device, c, class_words(link, rate, c), queue)
    if impaired:
        yield f"qdisc add dev {device} parent 1:10 handle 2: {impairment_words(link)}"
    if not classes:
        yield f"qdisc add dev {device} parent {_queue_parent(impaired)} handle 10: {queue}"
    if sentinel:
        yield f"class add dev {device} parent 1: classid 1:5 htb rate {SENTINEL_RATE}bit burst 15000 quantum 1600"
        yield f"qdisc add dev {device} parent 1:5 handle 5: bfifo limit {SENTINEL_QUEUE}"
        yield (f"filter add dev {device} parent 1: protocol ip u32 "
               f"match ip dsfield {SENTINEL_DSCP << 2:#x} 0xfc flowid 1:5")


def class_words(link: Link, rate: float, c: WireClass) -> str:
    """What tc is given of a class of a link at `rate` bit/s."""
    return htb_words(c, rate, burst(link, rate), link.max_frame + 100)


def _queue_parent(impaired: bool) -> str:
    return "2:1" if impaired else "1:10"


def _redirect(device: str, to: str, disowned: bool = False) -> Iterator[str]:
    """All that a device takes in goes into the other one's queue; disowned: as a copy, which no socket owns."""
    action = f"mirror dev {to} action drop" if disowned else f"redirect dev {to}"
    yield f"qdisc add dev {device} ingress"
    yield f"filter add dev {device} parent ffff: protocol all u32 match u32 0 0 action mirred egress {action}"


def wire_lines(fabric: Fabric, disowned: bool = False) -> Iterator[str]:
    """tc lines for all wires, in the wiring namespace.

    disowned: frames of hosts lose their owner on the first wire (docs/decisions/083-frames-lose-their-owner.md).
    """
    classes = wire_classes(fabric.spec.classes)
    for link, pair in zip(fabric.links, devices(fabric).values(), strict=True):
        yield from _redirect(pair.a, pair.b, disowned and link.kind == "access")
        yield from _redirect(pair.b, pair.a)
        sentinel = carries_sentinel(fabric, link)
        queue = queue_words(link, link.queue)
        yield from shaper(pair.a, link, link.rate, queue, sentinel, link.impaired, classes)
        if link.kind == "fabric":
            yield from shaper(pair.b, link, link.rate, queue, sentinel, link.impaired, classes)
        elif link.impaired:     # host -> leaf: the host shapes, the wire delays and loses
            yield from shaper(pair.b, link, UNSHAPED_RATE, HOST_FIFO, sentinel, impaired=True)


def host_lines(fabric: Fabric, host: str) -> list[str]:
    """tc lines for one host's own interface. Its delay, if any, is the wire's."""
    link = fabric.access_link(host)
    return list(shaper(link.a.interface, link, link.rate, HOST_FIFO, carries_sentinel(fabric, link),
                       classes=wire_classes(fabric.spec.classes)))


def router_lines(fabric: Fabric, link: Link) -> list[str]:
    """tc lines for the device of a router with a VTEP, where what is behind it is no wire that queues."""
    return list(shaper(link.a.interface, link, link.rate, f"bfifo limit {link.queue}", carries_sentinel(fabric, link),
                       classes=wire_classes(fabric.spec.classes)))


def crossing_time(link: Link) -> float:
    """Seconds that an isolated frame takes over a wire with empty queues: the link's delay, for a token bucket lets it
    through at once (docs/decisions/003-isolated-frames.md)."""
    return link.delay


def carries_sentinel(fabric: Fabric, link: Link) -> bool:
    """Only probe hosts may use the class: on other access links it would be free bandwidth."""
    return link.kind == "fabric" or fabric.by_name[link.a.node].role == "probe"


@dataclass(frozen=True)
class Queue(Direction):
    """Where one direction of a link is queued."""

    netns: str          # name of the namespace
    device: str
    leaves_by: str      # device in the wiring namespace
    classes: tuple[WireClass, ...] = ()     # none: one queue, 10:

    @property
    def handles(self) -> tuple[int, ...]:
        """Of the queues that share the link's rate."""
        return tuple(c.handle for c in self.classes) or (TRAFFIC_QUEUE,)


def queues(inventory: Inventory) -> list[Queue]:
    """The queue of every direction of every link, in the fabric's order."""
    found = []
    classes = wire_classes(inventory.fabric.spec.classes)
    for link in inventory.fabric.links:
        pair = inventory.wires[link.name]
        forward, back = link.directions
        if link.kind == "access":
            found.append(Queue(forward, link.name, HOST_QUEUE, link.rate, inventory.netns[link.a.node],
                               link.a.interface, pair.b, classes))
        else:
            found.append(Queue(forward, link.name, link.queue, link.rate, inventory.wiring, pair.b, pair.b, classes))
        found.append(Queue(back, link.name, link.queue, link.rate, inventory.wiring, pair.a, pair.a, classes))
    return found


def set_rate(inventory: Inventory, name: str, rate: float) -> None:
    """Change a link's rate while it carries traffic, both directions; nothing queued is lost."""
    link = inventory.fabric.link(name)
    for queue in queues(inventory):
        if queue.link == link.name:
            change_rate(queue, link, rate)


def change_rate(queue: Queue, link: Link, rate: float) -> None:
    """Change the rate of one direction while it carries traffic."""
    top = "1" if queue.classes else "10"
    tc_batch([f"class change dev {queue.device} parent 1: classid 1:{top} {_rate(link, rate)}",
              *(f"class change dev {queue.device} {class_words(link, rate, c)}" for c in queue.classes)], queue.netns)


def set_queue(inventory: Inventory, name: str, size: int) -> None:
    """Change the plain queue (bytes) of a link's shaped directions; a host's own queue stays."""
    link = inventory.fabric.link(name)
    for queue in queues(inventory):
        if queue.link == link.name and queue.netns == inventory.wiring:
            words = queue_words(link, size)
            lines = [f"qdisc change dev {queue.device} parent 1:{c.number:x} handle {c.number:x}: {words}"
                     for c in queue.classes]
            tc_batch(lines or [f"qdisc change dev {queue.device} parent {_queue_parent(link.impaired)} handle 10: "
                               f"{words}"], queue.netns)


def set_state(inventory: Inventory, name: str, up: bool) -> None:
    """Take a link down or up: both ends lose or gain carrier, as when a cable is pulled."""
    link = inventory.fabric.link(name)
    pair = inventory.wires.get(link.name)
    if pair is None:
        raise HostError(f"link {name}", "a link of the running lab", "none")
    word = "up" if up else "down"
    run("ip", "-n", inventory.wiring, "-batch", "-",
        text=f"link set {pair.a} {word}\nlink set {pair.b} {word}\n")


def capture_command(inventory: Inventory, name: str, packets: int = 0) -> list[str]:
    """tcpdump in the wiring namespace, with the capture on its standard output. A direction is captured going out of
    the wire, a link at its end a."""
    link = inventory.fabric.link(name)
    pair = inventory.wires[link.name]
    device, way = pair.a, []
    if "->" in name:
        device = pair.b if name == link.directions[0] else pair.a
        way = ["-Q", "out"]
    count = ["-c", str(packets)] if packets else []
    return ["nsenter", f"--net=/run/netns/{inventory.wiring}", "tcpdump", "-i", device, *way, *count, "-n", "-U",
            "--time-stamp-precision=nano", "-s", "0", "-w", "-"]
