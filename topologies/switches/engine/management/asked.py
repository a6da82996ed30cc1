"""What the engine answers of topologies.switches.management."""

from __future__ import annotations

from topologies.switches.engine.management.commands import at_once, drop_counts, set_neighbours
from topologies.switches.engine.management.paths import path_of
from topologies.switches.engine.management.power import forwards
from topologies.switches.engine.management.process import is_switch
from topologies.switches.management import Management

MANAGEMENT = Management(is_switch=is_switch, set_neighbours=set_neighbours, flush_caches=at_once,
                        settle_counters=at_once, drop_counts=drop_counts, path_of=path_of, forwards=forwards)
