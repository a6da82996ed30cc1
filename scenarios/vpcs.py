"""VPCs of a running lab: intent to the controller, addresses to the hosts."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from controller.client import ControllerClient
from controller.intent import Intent, as_objects
from controller.intent_checks import intent_problems
from topologies.document import Document
from topologies.errors import SpecErrors
from topologies.fabric import Fabric
from topologies.host_addresses import address_of, forget_neighbours, readdress
from topologies.inventory import Inventory

Json = dict[str, Any]


def check_intent(intent: Intent, document: Document, fabric: Fabric) -> None:
    """Raises SpecErrors with everything in a file that does not fit the fabric, each with its line."""
    problems = intent_problems(intent, fabric)
    if problems:
        raise SpecErrors(document.errors(problems))


def apply_intent(inventory: Inventory, intent: Intent, version: int | None = None) -> Json:
    """Make this the whole intent of a lab, and address its hosts accordingly.

    version: only if this one still counts; by default the one that counts now. Returns the controller's answer
    (see controller/vpc_api.py). Raises LabError.
    """
    client = ControllerClient(inventory.api_socket)
    before = client.intent()
    answer = client.apply(as_objects(intent), before["version"] if version is None else version)
    address_hosts(inventory, before["hosts"], client.intent()["hosts"])
    return answer


def address_hosts(inventory: Inventory, before: dict[str, Json], after: dict[str, Json]) -> list[str]:
    """Give hosts the addresses that their attachments ask for; those without one their own. Names of the changed ones.

    before, after: host -> {segment, ip, prefix, gateway}, as the API tells them.
    """
    flat = IPv4Network(inventory.fabric.spec.subnet).prefixlen
    changed = []
    for node in inventory.fabric.all_hosts:
        place = after.get(node.name, {"ip": node.ip, "prefix": flat, "gateway": ""})
        if before.get(node.name) != after.get(node.name) or address_of(inventory, node.name) != place["ip"]:
            readdress(inventory, node.name, place["ip"], place["prefix"], place["gateway"])
            changed.append(node.name)
    # An address may have been another host's before: who is in that segment already has to ask again.
    given = {host: after[host] for host in changed if host in after}
    touched = {place["segment"] for place in given.values()}
    forget_neighbours(inventory, [h for h, place in after.items() if place["segment"] in touched and h not in changed],
                      [place["ip"] for place in given.values()])
    return changed
