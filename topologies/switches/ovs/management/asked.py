"""What Open vSwitch answers of topologies.switches.management."""

from __future__ import annotations

from topologies.switches.management import Management
from topologies.switches.ovs.management.commands import flush_caches, set_neighbours, settle_counters
from topologies.switches.ovs.management.paths import path_of
from topologies.switches.ovs.management.process import is_switch
from topologies.switches.ovs.management.rule_counters import drop_counts

MANAGEMENT = Management(is_switch=is_switch, set_neighbours=set_neighbours, flush_caches=flush_caches,
                        settle_counters=settle_counters, drop_counts=drop_counts, path_of=path_of)
