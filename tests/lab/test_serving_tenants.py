"""Tenants that serve at the same time: one process, overlapping addresses, each its own bytes, model and SLO."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.lab.engine_lab import run
from tests.lab.run_process import aifab_run
from traffic.transports.base import Connection, Dial, Host, Options
from traffic.transports.flow import Meter, send
from traffic.transports.tcp.network import TcpNetwork

pytestmark = pytest.mark.lab

# h1, h2, h3 on leaf1, h4, h5, h6 on leaf2: each tenant has its gateway on leaf1 and a replica behind a spine.
SCENARIO = """
name: two-tenants
question: Do two tenants with the same addresses serve side by side?
fabric: {name: two-tenants, leaves: 2, spines: 1, hosts_per_leaf: 3, host_rate: 10mbit}
vpcs:
  - {kind: VPC, metadata: {name: a}, spec: {subnets: {x: {subnet: 10.1.0.0/24}}}}
  - {kind: VPC, metadata: {name: b}, spec: {subnets: {x: {subnet: 10.1.0.0/24}}}}
  - {kind: VPCAttachment, metadata: {name: h1}, spec: {connection: h1, subnet: a/x}}
  - {kind: VPCAttachment, metadata: {name: h2}, spec: {connection: h2, subnet: b/x}}
  - {kind: VPCAttachment, metadata: {name: h3}, spec: {connection: h3, subnet: a/x}}
  - {kind: VPCAttachment, metadata: {name: h4}, spec: {connection: h4, subnet: a/x}}
  - {kind: VPCAttachment, metadata: {name: h5}, spec: {connection: h5, subnet: b/x}}
  - {kind: VPCAttachment, metadata: {name: h6}, spec: {connection: h6, subnet: b/x}}
workloads:
  chat: {kind: serving, clients: [h3], gateway: h1, replicas: [h4], rate: 10, requests: 30, variation: 0,
         input_tokens: 200, output_tokens: 10, coalesce: 5, slo_ttft: 5s, slo_tpot: 1s}
  code: {kind: serving, clients: [h6], gateway: h2, replicas: [h5], rate: 5, requests: 12, variation: 0,
         model: mixtral-8x7b, gpus: 4, input_tokens: 900, output_tokens: 20, coalesce: 5, slo_ttft: 1ms}
"""


def test_two_tenants_with_the_same_addresses_serve_side_by_side(tmp_path: Path) -> None:
    with aifab_run(tmp_path, SCENARIO) as it:
        assert it.end() in {3, 4}, it.text
        inventory = json.loads((it.directory / "logs/main.inference.job.json").read_text())["inventory"]
        nodes = json.loads(Path(inventory).read_text())["fabric"]["nodes"]
        ips = {n["name"]: n["ip"] for n in nodes}
        assert [ips["h1"], ips["h3"], ips["h4"]] == [ips["h2"], ips["h5"], ips["h6"]]
        requests = [r for r in it.records() if r["kind"] == "serving"]
        assert {r["status"] for r in requests} == {"ok"}
        connections = [c for c in it.records() if c["kind"] == "connection"]
        moved = {name: {(c["src"], c["dst"]) for c in connections if c["workload"] == name}
                 for name in ("chat", "code")}
        assert moved == {"chat": {("h3", "h1"), ("h1", "h4")}, "code": {("h6", "h2"), ("h2", "h5")}}
        metrics = {key: m["value"] for key, m in json.loads((it.directory / "metrics.json").read_text()).items()}
        assert (metrics["chat.completed"], metrics["code.completed"]) == (30, 12)
        assert (metrics["chat.slo_attainment"], metrics["code.slo_attainment"]) == (1, 0), "each is held to its own SLO"
        serving = json.loads((it.directory / "serving.json").read_text())
        assert serving["chat.main"]["total_input_tokens"] == 30 * 200
        assert serving["code.main"]["total_input_tokens"] == 12 * 900
        ledger = json.loads((it.directory / "ledger.json").read_text())
        assert ledger["balances"], ledger
        assert it.left() == []


@pytest.fixture
def twins() -> Iterator[dict[str, Host]]:
    """Two pairs of hosts with a cable each, c1 - s1 and c2 - s2, whose addresses are the same."""
    prefix = f"tw{os.getpid()}"
    made = []
    try:
        for n in ("c1", "s1", "c2", "s2"):
            run(f"ip netns add {prefix}{n}")
            made.append(prefix + n)
        for n in (1, 2):
            run(f"ip link add name eth0 netns {prefix}c{n} type veth peer name eth0 netns {prefix}s{n}")
            for side, ip in (("c", "10.1.0.1"), ("s", "10.1.0.2")):
                run(f"ip -n {prefix}{side}{n} addr add {ip}/24 dev eth0")
                run(f"ip -n {prefix}{side}{n} link set eth0 up")
        yield {n: Host(n, "10.1.0.1" if n[0] == "c" else "10.1.0.2", f"/run/netns/{prefix}{n}")
               for n in ("c1", "s1", "c2", "s2")}
    finally:
        for netns in made:
            run(f"ip netns del {netns}")


def test_connections_of_the_same_addresses_and_ports_at_the_same_time_keep_their_ends(twins: dict[str, Host]) -> None:
    meters = {n: Meter() for n in (1, 2)}

    async def both() -> set[int]:
        loop = asyncio.get_running_loop()
        network = TcpNetwork(loop, twins)
        done: dict[int, asyncio.Future[Connection]] = {n: loop.create_future() for n in (1, 2)}
        for n in (1, 2):
            network.listen(twins[f"s{n}"])
        for n in (1, 2):
            network.connect(Dial(twins[f"c{n}"], twins[f"s{n}"], Options("reno"), random.Random(7), meters[n],  # noqa: S311
                                 done[n].set_result, done[n].set_exception, lambda _c, error: pytest.fail(str(error))))
        connections = await asyncio.wait_for(asyncio.gather(*done.values()), 20)
        arrived = [loop.create_future() for _ in connections]
        for size, connection, future in zip((1000, 3000), connections, arrived, strict=True):
            send(connection.forward, size, partial(future.set_result, None))
        await asyncio.wait_for(asyncio.gather(*arrived), 20)
        sports = {connection.sport for connection in connections}
        for connection in connections:
            connection.close()
        network.close()
        return sports

    assert len(asyncio.run(both())) == 1, "the same address and port"
    assert [meters[n].bytes for n in (1, 2)] == [1000, 3000], "the other tenant's"
