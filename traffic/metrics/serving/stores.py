"""What a workload's stores of KV blocks did: hits by tier, bytes over the network, how fast they came.

Reported only where there are stores. Hits of tiers that are nearer are not hits of the stores.

Source: docs/reference/methods.md: serving.
"""

from __future__ import annotations

from collections.abc import Sequence

from traffic.inference.records import ServingRecord, StoreRecord
from traffic.metrics.metric import Definition, Metric
from traffic.metrics.serving.inference import LONG, SEGMENT, SOURCE
from traffic.runtime.records import reached

_SHARE = "blocks found there and in no nearer tier / blocks of all prompts that were looked up"
HIT_GPU = Definition("gpu_hit_rate", "", "prompt blocks found in the GPU", _SHARE, SOURCE)
HIT_HOST = Definition("host_hit_rate", "", "prompt blocks found in the host's memory", _SHARE, SOURCE)
HIT_STORE = Definition("store_hit_rate", "", "prompt blocks fetched from the stores", _SHARE, SOURCE)
FETCHED = Definition("store_fetched", "B", "bytes fetched from the stores", "bytes of fetches that came whole", SOURCE)
WRITTEN = Definition("store_written", "B", "bytes written to the stores", "bytes of writes that came whole", SOURCE)
FAILED = Definition("store_failed", "", "fetches and writes that broke off", "those that did not come whole", SOURCE)
FETCH_BW = Definition("fetch_bandwidth", "bit/s", "rate of a fetch from one store (median)", "median of 8 x bytes / "
                      "(last byte there - asked for), of fetches of 100 packets or more", SOURCE)


def metrics(requests: Sequence[ServingRecord], moves: Sequence[StoreRecord]) -> list[Metric]:
    """From serving and serving-store records of one workload in one phase; nothing without stores."""
    looked = [r for r in requests if r.order >= 0]
    blocks = sum(r.blocks for r in looked)
    if not blocks or all(r.fetched is None for r in requests):
        return []
    whole = [m for m in moves if m.end is not None]
    hits = {HIT_GPU: sum(r.hit_gpu for r in looked), HIT_HOST: sum(r.hit_host for r in looked),
            HIT_STORE: sum(r.hit_store for r in looked)}
    found = [definition.of(hit / blocks, len(looked)) for definition, hit in hits.items()]
    for definition, what in ((FETCHED, "fetch"), (WRITTEN, "write")):
        mine = [m.bytes for m in whole if m.what == what]
        found.append(definition.of(sum(mine), len(mine)))
    found.append(FAILED.of(len(moves) - len(whole), len(moves)))
    if long := [m for m in whole if m.what == "fetch" and m.bytes >= LONG * SEGMENT]:
        found.append(FETCH_BW.median([8 * m.bytes / (reached(m.end) - m.start) for m in long]))
    return found
