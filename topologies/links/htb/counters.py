"""What the queues of a running lab have counted, read now and then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topologies.links.htb import qdisc
from topologies.links.htb.wires import Queue, queues
from topologies.model.inventory import Inventory
from topologies.proof.ledger import QueueCount


def read_queues(inventory: Inventory) -> dict[str, QueueCount]:
    """Direction -> packets through its queue, the sentinel class included, and lost by the link itself."""
    held: dict[tuple[str, str], dict[int, qdisc.Qdisc]] = {}
    for netns in {q.netns for q in queues(inventory)} | {inventory.wiring}:
        for device, q in device_queues(netns):
            held.setdefault((netns, device), {})[q.handle] = q
    return {q.direction: through(q, held.get((q.netns, q.device), {})) + _impaired(
        held.get((inventory.wiring, q.leaves_by), {})) for q in queues(inventory)}


def through(queue: Queue, held: Mapping[int, qdisc.Qdisc]) -> QueueCount:
    """The queues of one device, by their handles."""
    found = [held[handle] for handle in (*queue.handles, qdisc.SENTINEL_QUEUE) if handle in held]
    return QueueCount(sum(q.packets for q in found), sum(q.drops for q in found), sum(q.qlen for q in found),
                      by_class={c.name: held[c.handle].drops for c in queue.classes if c.name and c.handle in held})


def _impaired(held: Mapping[int, qdisc.Qdisc]) -> QueueCount:
    """What netem lost by chance and still holds back. Its counts include those of the queue behind it."""
    netem, behind = held.get(qdisc.IMPAIRMENT), held.get(qdisc.TRAFFIC_QUEUE)
    if netem is None or behind is None:
        return QueueCount()
    return QueueCount(waiting=netem.qlen - behind.qlen, lost=netem.drops - behind.drops)


def device_queues(netns: str) -> list[tuple[str, qdisc.Qdisc]]:
    """Every qdisc of a namespace with the name of its device."""
    path = f"/run/netns/{netns}"
    names = {index: name for name, index in qdisc.interfaces(path).items()}
    with qdisc.open_socket(path) as sock:
        return [(names.get(q.ifindex, "?"), q) for q in qdisc.dump(sock)]


def sent_bytes(inventory: Inventory) -> dict[str, int]:
    """Direction -> bytes that have left its queue in the wiring namespace; a host's own sending is not among them."""
    sent = {(device, q.handle): q.bytes for device, q in device_queues(inventory.wiring)}
    return {q.direction: sum(sent[q.device, handle] for handle in q.handles) for q in queues(inventory)
            if q.netns == inventory.wiring}


def unclassified(queue: Queue) -> qdisc.Qdisc:
    """What the queue of packets in no class counts, of one direction."""
    return next(q for device, q in device_queues(queue.netns)
                if device == queue.device and q.handle == qdisc.TRAFFIC_QUEUE)


def waiting(group: Sequence[Queue]) -> int:
    """Packets in no class that wait in these queues."""
    devices = {(q.netns, q.device) for q in group}
    return sum(q.qlen for netns in {n for n, _ in devices} for device, q in device_queues(netns)
               if (netns, device) in devices and q.handle == qdisc.TRAFFIC_QUEUE)
