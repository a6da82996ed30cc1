"""Fault fuzzing: links, switches, the controller and the VPCs change by a seed; every pair is tested after each step.

    python -m tests.fuzz --seed 7           replay one seed, step by step
    python -m tests.fuzz --seeds 20         seeds 1 to 20 in one lab

What should reach whom follows from intent (controller/verify/reachability.py) and from what is broken, and from nothing
that the controller says. With the controller away a switch knows of its own links only: where its hash may pick a
path that is broken further on, either outcome is right for the intended receiver, and none for anybody else.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from controller.persisted_intent import PersistedIntent
from controller.verify.reachability import Cell, matrix, places
from scenarios.run.verify import Probes, Verification
from scenarios.run.vpcs import apply_intent
from tests.drawn_intents import Changing
from tests.lab.controller_lab import Lab
from topologies.lab.host_limits import require_root
from topologies.lab.network import running
from topologies.links.htb import wires
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from topologies.switches.ovs import restart

FABRIC = FabricSpec(name="fuzz", leaves=3, spines=2, hosts_per_leaf=3, probes=False)
STEPS = 12
VPCS = 3            # few, so that hosts meet
SETTLE = 120.0      # seconds for the controller to install a step, and for a switch to notice its own dead port


@dataclass
class World:
    """What is broken; `known` are the links that the controller took to be down when it left, None while it is here."""

    down: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)      # switches that have started again without a controller
    known: frozenset[str] | None = None

    def down_links(self, fabric: Fabric) -> frozenset[str]:
        """As the controller has to see it: a dead switch's links among them."""
        return frozenset(self.down) | {k.name for s in self.dead for k in fabric.links_of(s)}

    def forwards(self, switch: str) -> bool:
        return switch not in self.dead | self.empty

    def crosses(self, fabric: Fabric, source: str, target: str) -> bool | None:
        """Whether a packet gets from leaf to leaf; None: it depends on the path that it takes."""
        if not (self.forwards(source) and self.forwards(target)):
            return False
        if source == target:
            return True
        spines = [s.name for s in fabric.spines]
        whole = {s for s in spines if self.forwards(s) and not {f"{source}-{s}", f"{target}-{s}"} & self.down}
        if self.known is None:
            return bool(whole)
        group = [s for s in spines if not {f"{source}-{s}", f"{target}-{s}"} & self.known]
        taken = {s for s in group if f"{source}-{s}" not in self.down}
        if not taken & whole:
            return False
        return True if taken <= whole else None


class Fuzz:
    """One seed in a lab that is whole."""

    def __init__(self, lab: Lab, seed: int, tell: Callable[[str], None]) -> None:
        self._lab, self._inventory, self._tell = lab, lab.net.inventory, tell
        self._draw = random.Random(seed)  # noqa: S311 - it draws an example
        fabric = lab.fabric
        self._changing = Changing(fabric, [h.name for h in fabric.hosts], self._draw, vpcs=VPCS)
        self._links = [k.name for leaf in fabric.leaves for k in fabric.uplinks(leaf.name)]
        self._switches = [s.name for s in fabric.switches]
        self.world = World()
        self.history: list[str] = []

    def run(self, steps: int) -> list[str]:
        """What was wrong after the first step after which anything was; nothing if all went well."""
        for _ in range(3 * VPCS):
            self._changing.step()
        apply_intent(self._inventory, self._changing.intent)
        for _ in range(steps):
            self.history.append(self._step())
            self._tell(f"  {len(self.history)}. {self.history[-1]}")
            wrong = self.wrong()
            if wrong:
                return wrong
        return []

    # ---- steps

    def _step(self) -> str:
        return self._draw.choice([self._link, self._link, self._switch, self._switch, self._restart, self._controller,
                                  self._vpcs, self._vpcs])()

    def _link(self) -> str:
        """Down, or up if it was down; a link that was down for two others to go is mended first."""
        many = len(self.world.down) > len(self._links) // 3
        name = self._draw.choice(sorted(self.world.down) if many else self._links)
        up = name in self.world.down
        wires.set_state(self._inventory, name, up=up)
        (self.world.down.discard if up else self.world.down.add)(name)
        return f"{name} {'up' if up else 'down'}"

    def _switch(self) -> str:
        name = self._draw.choice(sorted(self.world.dead) or self._switches)
        if name in self.world.dead:
            self._start(name)
            return f"{name} starts"
        restart.kill(self._inventory, name)
        self.world.dead.add(name)
        return f"{name} killed"

    def _restart(self) -> str:
        name = self._draw.choice([s for s in self._switches if s not in self.world.dead])
        restart.kill(self._inventory, name)
        self._start(name)
        return f"{name} killed and started"

    def _start(self, name: str) -> None:
        restart.start_again(self._inventory, name)
        self.world.dead.discard(name)
        if self.world.known is not None:
            self.world.empty.add(name)

    def _controller(self) -> str:
        if self.world.known is None:
            self.world.known = self.world.down_links(self._lab.fabric)
            self._lab.kill()
            return "controller killed"
        self._lab.spawn()
        self.world.known, self.world.empty = None, set()
        return "controller starts"

    def _vpcs(self) -> str:
        if self.world.known is not None:
            return self._controller()       # there is no controller to ask for VPCs
        changes = [self._changing.step() for _ in range(self._draw.randint(1, 3))]
        apply_intent(self._inventory, self._changing.intent)
        return ", ".join(changes)

    # ---- proof

    def wrong(self) -> list[str]:
        """Which pairs are not as they should be by now, in words."""
        if self.world.known is None:
            self._lab.client.wait_converged(SETTLE, down=self.world.down_links(self._lab.fabric))
        deadline = time.monotonic() + SETTLE
        while True:
            denies, allows = self._observed()
            # A switch without a controller takes a moment to notice a dead port of its own.
            if allows or not denies or self.world.known is None or time.monotonic() > deadline:
                return allows + denies

    def _observed(self) -> tuple[list[str], list[str]]:
        """(who has not heard what it should have, who has heard what it should not), in words."""
        record = PersistedIntent.read(self._lab.net.journal.directory / "intent.json")
        where = places(record.intent, self._lab.fabric, record.allocation)
        intended = matrix(record.intent, self._lab.fabric, record.allocation)
        found = Verification(tuple(map(self._now, intended)), {h: self._lab.fabric.host(h).leaf for h in where})
        with ExitStack() as stack:
            Probes(self._inventory, {h: p.ip for h, p in where.items()}, stack).run(found)
        both = {(c.source, c.target): c.receiver for c in intended if self._fate(c) is None}
        return ([f"{c.source} -> {c.target} ({c.ip}): {c.receiver} has not received it ({c.reason})"
                 for c in found.false_denies()],
                [f"{c.source} -> {c.target} ({c.ip}): {host} has received it ({c.reason})"
                 for c, host in found.false_allows() if host != both.get((c.source, c.target))])

    def _fate(self, cell: Cell) -> bool | None:
        """Whether an intended packet gets through what is broken."""
        leaf = {h: self._lab.fabric.host(h).leaf for h in (cell.source, cell.receiver) if h}
        return self.world.crosses(self._lab.fabric, leaf[cell.source], leaf[cell.receiver]) if cell.receiver else False

    def _now(self, cell: Cell) -> Cell:
        """The cell as it is while things are broken; one with either outcome is watched for strangers only."""
        if not cell.receiver or self._fate(cell):
            return cell
        return replace(cell, receiver="", drop="broken", reason=f"{cell.reason}, but what is broken is in the way")

    def mend(self) -> None:
        """Everything is there again, and nobody is in a VPC."""
        if self.world.known is not None:
            self._lab.spawn()
        for name in sorted(self.world.dead):
            restart.start_again(self._inventory, name)
        for link in sorted(self.world.down):
            wires.set_state(self._inventory, link, up=True)
        self._lab.client.wait_converged(SETTLE, down=frozenset())


@contextmanager
def fuzz_lab() -> Iterator[Lab]:
    with running(FABRIC) as net:
        lab = Lab(net)
        lab.start()
        try:
            yield lab
        finally:
            lab.kill()


def run_seed(lab: Lab, seed: int, steps: int = STEPS, tell: Callable[[str], None] = lambda _: None) -> list[str]:
    """What was wrong with this seed, with the steps that led there; the lab is whole again afterwards."""
    fuzz = Fuzz(lab, seed, tell)
    try:
        wrong = fuzz.run(steps)
    finally:
        fuzz.mend()
    if not wrong:
        return []
    return [f"seed {seed} (replay: python -m tests.fuzz --seed {seed} --steps {steps}), after "
            + "; ".join(fuzz.history), *wrong]


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 all was as expected, 1 something was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Break a lab by a seed, test every pair.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="replay this one")
    which.add_argument("--seeds", type=int, metavar="N", help="1 to N")
    parser.add_argument("--steps", type=int, default=STEPS)
    chosen = parser.parse_args(arguments)
    require_root()
    failed = []
    with fuzz_lab() as lab:
        for seed in [chosen.seed] if chosen.seed is not None else range(1, chosen.seeds + 1):
            print(f"seed {seed}", flush=True)
            failed += run_seed(lab, seed, chosen.steps, lambda text: print(text, flush=True))
    print("\n".join(failed) or "all as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
