"""Predictions of the fluid model against limits that are known otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.workloads import workload_of
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import BorderSpec, FabricSpec, LinkOverride
from traffic.metrics.collective import factor
from traffic.models.predict import fluid_seconds, path_seconds, predict, step_seconds
from traffic.transports.tcp import TCP
from traffic.workloads.specs import CollectiveSpec, RequestsSpec, TrainingTraceSpec
from traffic.workloads.workload import Collective, Compute, Op, Transfer, Workload

DATA = Path(__file__).parents[2] / "scenarios" / "library" / "data"
HOSTS = tuple(f"h{i + 1}" for i in range(8))


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec(border=BorderSpec(hosts=2, rate="10mbit")))


def of_ops(*ops: Op, hosts: tuple[str, ...] = HOSTS) -> Workload:
    return Workload(name="w", hosts=hosts, ops=ops)


def all_reduce(size: int = 8_000_000, name: str = "c", after: tuple[str, ...] = ()) -> Collective:
    return Collective(name, "all-reduce", tuple(range(8)), size, after=after)


def test_a_ring_on_a_non_blocking_fabric_reaches_the_ring_limit(fabric: Fabric) -> None:
    spec = CollectiveSpec.model_validate({"kind": "collective", "size": "8MB", "iterations": 5})
    found = predict(workload_of(spec, fabric, "ring", 1), fabric)
    assert found["busbw"].value == pytest.approx(TCP.overhead.ring_limit(10e6))
    transfer = 8 * 8_000_000 * factor("all-reduce", 8) / TCP.overhead.ring_limit(10e6)
    assert found["time"].value == pytest.approx(transfer + path_seconds(fabric, "h1", "h5"))
    assert found["jct"].value == pytest.approx(5 * found["step_time"].value)


def test_an_oversubscribed_fabric_is_the_limit_of_a_ring_that_crosses_it() -> None:
    slow = expand(FabricSpec(oversubscription=4))
    crossing = of_ops(all_reduce(), hosts=("h1", "h5", "h2", "h6", "h3", "h7", "h4", "h8"))
    staying = of_ops(all_reduce())
    free = expand(FabricSpec())
    assert fluid_seconds(all_reduce(), crossing, slow) == pytest.approx(
        4 * fluid_seconds(all_reduce(), crossing, free), rel=0.02)      # ACKs are encapsulated too
    assert fluid_seconds(all_reduce(), staying, slow) == pytest.approx(     # one hop of the ring crosses
        fluid_seconds(all_reduce(), staying, free), rel=0.02)


def test_one_slow_host_holds_up_the_ring() -> None:
    slow = expand(FabricSpec(links={"h3-leaf1": LinkOverride(rate="5mbit")}))
    assert predict(of_ops(all_reduce()), slow)["busbw"].value == pytest.approx(TCP.overhead.ring_limit(5e6))


def test_what_all_send_to_one_rank_goes_at_its_bulk_limit(fabric: Fabric) -> None:
    splits = tuple(tuple(100_000 if j == 5 else 0 for j in range(8)) for _ in range(8))
    op = Collective("c", "all-to-all", tuple(range(8)), 100_000, "direct", splits)
    assert fluid_seconds(op, of_ops(op), fabric) == pytest.approx(8 * 700_000 / TCP.overhead.bulk_limit(10e6))


def test_a_step_is_its_longest_chain_of_compute_and_collectives(fabric: Fabric) -> None:
    gaps = tuple(Compute(f"g{r}", r, 0.1 * r) for r in range(8))
    first = all_reduce(name="first", after=tuple(g.id for g in gaps))
    last = Compute("last", 2, 0.5, after=("first",))
    w = of_ops(*gaps, first, last)
    alone = step_seconds(of_ops(all_reduce()), fabric)
    assert step_seconds(w, fabric) == pytest.approx(0.7 + alone + 0.5)


def test_ops_may_be_listed_in_any_order(fabric: Fabric) -> None:
    a, b = Compute("a", 0, 1.0), Compute("b", 0, 2.0, after=("a",))
    assert step_seconds(of_ops(b, a), fabric) == step_seconds(of_ops(a, b), fabric) == 3.0


def test_a_request_on_an_idle_network_is_there_work_and_back(fabric: Fabric) -> None:
    ops = (Transfer("req/0", 0, 1, 20_000, at=3.0), Compute("work/0", 1, 0.2, ("req/0",)),
           Transfer("resp/0", 1, 0, 50_000, ("work/0",), reply="req/0"))
    w = Workload(name="chat", hosts=("ext1", "h1"), ops=ops, connections="pool")
    found = predict(w, fabric)
    assert found["e2el"].value == pytest.approx(
        8 * 70_000 / TCP.overhead.bulk_limit(10e6) + 0.2 + 2 * path_seconds(fabric, "ext1", "h1"))


def test_a_path_is_the_sum_of_its_links_delay_and_serialisation() -> None:
    f = expand(FabricSpec(delay="1ms", uplink_rate="40mbit", host_rate="10mbit"))
    assert path_seconds(f, "h1", "h2") == pytest.approx(2 * (0.001 + 8 * 1514 / 10e6))
    assert path_seconds(f, "h1", "h5") == pytest.approx(4 * 0.001 + 2 * 8 * 1514 / 10e6 + 2 * 8 * 1564 / 40e6)
    assert path_seconds(f, "h1", "h1") == 0


def test_the_samples_take_as_long_as_they_say_and_have_predictions(fabric: Fabric) -> None:
    step = workload_of(TrainingTraceSpec.model_validate(
        {"kind": "training-trace", "trace": str(DATA / "dlrm-small")}), fabric, "dlrm", 1)
    chat = workload_of(RequestsSpec.model_validate(
        {"kind": "requests", "trace": str(DATA / "requests-small.csv")}), fabric, "chat", 1)
    found = {f"{w.name}.{tag}": m for w in (step, chat) for tag, m in predict(w, fabric).items()}
    assert 2 < found["dlrm.step_time"].value < 4
    assert found["dlrm.c4-allreduce.busbw"].value == pytest.approx(TCP.overhead.ring_limit(10e6))
    assert found["chat.throughput"].value == pytest.approx(5, rel=0.05)
    assert found["dlrm.jct"].value >= found["dlrm.roofline"].value


@examples(40)
@given(sizes=st.lists(st.integers(1, 10**7), min_size=16, max_size=16), more=st.integers(1, 10**7),
       at=st.integers(0, 15))
def test_more_bytes_never_take_less_time_and_no_port_beats_its_rate(
        sizes: list[int], more: int, at: int) -> None:
    fabric = expand(FabricSpec())

    def seconds(s: list[int]) -> float:
        splits = tuple(tuple(s[4 * i:4 * i + 4]) for i in range(4))
        op = Collective("c", "all-to-all", (0, 1, 2, 3), 0, "direct", splits)
        return fluid_seconds(op, of_ops(op, hosts=("h1", "h5", "h2", "h6")), fabric)

    before = seconds(sizes)
    assert seconds([s + more * (i == at) for i, s in enumerate(sizes)]) >= before
    sent = max(sum(s for j, s in enumerate(sizes[4 * i:4 * i + 4]) if j != i) for i in range(4))
    assert before >= 8 * sent / TCP.overhead.bulk_limit(10e6) - 1e-9
