"""Intents drawn from a seed: a whole one of eight VPCs, and one that changes step by step."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from controller.intent.intent import Intent
from controller.intent.intent_checks import intent_problems
from tests.unit.intents import Spec, attach, intent, peer, vpc
from topologies.model.fabric import Fabric

VPCS = 8
Objects = list[Spec]


def mixed(seed: int, hosts: Sequence[str]) -> Intent:
    """Eight VPCs of two subnets over two address plans; neighbours of different plans may peer. Two hosts stay out."""
    draw = random.Random(seed)  # noqa: S311 - it draws an example
    objects: Objects = []
    for n in range(VPCS):
        subnets: dict[str, Spec | str] = {
            s: {"subnet": f"10.{n % 2}.{k}.0/24", "isolated": draw.random() < 0.3, "restricted": draw.random() < 0.3}
            for k, s in enumerate(("x", "y"))}
        objects.append(vpc(f"v{n}", subnets, mode=draw.choice(["l2vni", "l2vni", "l3vni"]),
                           permit=[["x", "y"]] if draw.random() < 0.5 else []))
    objects += [peer(**{f"v{n}": draw.choice([[], ["x"]]), f"v{n + 1}": draw.choice([[], ["y"]])})
                for n in range(0, VPCS, 2) if draw.random() < 0.7]
    return intent(*objects, *(attach(h, f"v{draw.randrange(VPCS)}/{draw.choice('xy')}") for h in hosts[:-2]))


class Changing:
    """An intent that changes, one object or a few at a time, by a seed; `kept` objects stay as they are."""

    def __init__(self, fabric: Fabric, hosts: Sequence[str], draw: random.Random, kept: Sequence[Spec] = (),
                 vpcs: int = VPCS) -> None:
        self._fabric, self._hosts, self._draw, self._vpcs = fabric, hosts, draw, vpcs
        self._kept, self._objects = list(kept), list[Spec]()

    @property
    def intent(self) -> Intent:
        return intent(*self._kept, *self._objects)

    def step(self) -> str:
        """Change something; what it was. A draw that would not be a possible intent is drawn again."""
        while True:
            change = self._draw.choice([self._add_vpc, self._remove_vpc, self._attach, self._attach, self._detach,
                                        self._peer, self._unpeer])
            after = change()
            if after != self._objects and not intent_problems(intent(*self._kept, *after), self._fabric):
                self._objects = after
                return change.__name__.lstrip("_")

    def _of(self, kind: str) -> Objects:
        return [o for o in self._objects if o["kind"] == kind]

    def _without(self, gone: Callable[[Spec], bool]) -> Objects:
        return [o for o in self._objects if not gone(o)]

    def _add_vpc(self) -> Objects:
        n = self._draw.randrange(self._vpcs)
        subnets: dict[str, Spec | str] = {s: {"subnet": f"10.{n % 3}.{k}.0/24", "isolated": self._draw.random() < 0.3,
                                              "restricted": self._draw.random() < 0.3}
                                          for k, s in enumerate("xy")}
        return [*self._objects, vpc(f"v{n}", subnets, mode=self._draw.choice(["l2vni", "l3vni"]))]

    def _remove_vpc(self) -> Objects:
        """A VPC goes with all that names it."""
        vpcs = self._of("VPC")
        if not vpcs:
            return self._objects
        name = self._draw.choice(vpcs)["metadata"]["name"]
        return self._without(lambda o: o["metadata"]["name"] == name
                             or (o["kind"] == "VPCAttachment" and o["spec"]["subnet"].startswith(f"{name}/"))
                             or (o["kind"] == "VPCPeering" and name in o["metadata"]["name"].split("-")))

    def _attach(self) -> Objects:
        """A host comes into a subnet, or moves to it."""
        vpcs = self._of("VPC")
        if not vpcs:
            return self._objects
        host, name = self._draw.choice(self._hosts), self._draw.choice(vpcs)["metadata"]["name"]
        return [*self._without(lambda o: o["spec"].get("connection") == host),
                attach(host, f"{name}/{self._draw.choice('xy')}")]

    def _detach(self) -> Objects:
        host = self._draw.choice(self._hosts)
        return self._without(lambda o: o["spec"].get("connection") == host)

    def _peer(self) -> Objects:
        vpcs = [o["metadata"]["name"] for o in self._of("VPC")]
        if len(vpcs) < 2:
            return self._objects
        one, other = self._draw.sample(vpcs, 2)
        return [*self._objects, peer(**{one: self._draw.choice([[], ["x"]]), other: self._draw.choice([[], ["y"]])})]

    def _unpeer(self) -> Objects:
        peerings = self._of("VPCPeering")
        gone = self._draw.choice(peerings) if peerings else None
        return self._without(lambda o: o is gone)
