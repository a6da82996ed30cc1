"""VPCs of a running lab: intent to the controller, addresses to the hosts."""

from __future__ import annotations

from io import StringIO
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from controller.intent.intent import KEY, Intent, as_objects, empty_problem, ignored_in, read_intent
from controller.intent.intent_checks import intent_problems
from controller.intent.lenient import note_lines, refuse
from controller.northbound.client import ControllerClient
from topologies.lab.host_addresses import address_of, forget_neighbours, readdress
from topologies.model.document import Document
from topologies.model.errors import SpecErrors
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory

Json = dict[str, Any]


def check_intent(intent: Intent, document: Document, fabric: Fabric) -> None:
    """Raises SpecErrors with everything in a file that does not fit the fabric, each with its line."""
    problems = intent_problems(intent, fabric)
    if problems:
        raise SpecErrors(document.errors(problems))


def read_accepted(path: Path, *, strict: bool = False) -> tuple[Intent, Document, list[str]]:
    """A file of objects, where each was written, and a line for each key of it that has no effect here.

    strict: such a key is an error. Raises SpecError, or SpecErrors with all that is wrong.
    """
    intent, document = read_intent(path)
    notes = list(ignored_in(intent, document.data[KEY]))
    if strict:
        refuse(document, notes)
    return intent, document, list(note_lines(document, notes))


def as_yaml(objects: list[Json]) -> str:
    """Objects as a file that apply takes: of none, a comment, which is no change where there are none."""
    if not objects:
        return "# no VPCs: all hosts are in one flat network\n"
    yaml, text = YAML(), StringIO()
    yaml.explicit_start = True
    yaml.dump_all(objects, text)
    return text.getvalue()


def check_not_empty(inventory: Inventory, intent: Intent, document: Document, *, meant: bool) -> None:
    """Raises SpecError for an intent without VPCs that would take those of the lab away, unless that is meant."""
    if meant or not intent.is_empty:
        return
    there = Intent.model_validate({KEY: ControllerClient(inventory.api_socket).intent()[KEY]})
    if not there.is_empty:
        raise document.error(empty_problem((), "--empty removes every VPC, as `aifab vpc delete` does"))


def plan_intent(inventory: Inventory, intent: Intent) -> Json:
    """What apply_intent() would change. Raises LabError."""
    return ControllerClient(inventory.api_socket).plan(as_objects(intent), empty=intent.is_empty)


def apply_intent(inventory: Inventory, intent: Intent, version: int | None = None) -> Json:
    """Make this the whole intent of a lab, and address its hosts accordingly.

    version: only if this one still counts; by default the one that counts now. Returns the controller's answer
    (see controller/northbound/vpc_api.py). Raises LabError.
    """
    client = ControllerClient(inventory.api_socket)
    before = client.intent()
    counts = before["version"] if version is None else version
    answer = client.apply(as_objects(intent), counts, empty=intent.is_empty)
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
