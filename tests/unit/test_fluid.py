"""Fair shares and fluids against cases that can be worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads import workload_of
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.metrics import on_paths as model
from traffic.models import maxmin
from traffic.models.fluid import Pair, Path, RateChange, Unpredictable, course, fluid_steps
from traffic.models.maxmin import Course, fair_rates
from traffic.models.predict import path_seconds, step_seconds
from traffic.transports.tcp import TCP
from traffic.workloads.lowering import lower
from traffic.workloads.specs import CollectiveSpec
from traffic.workloads.workload import Compute, Op, Transfer, Workload

LINKS = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec(uplink_rate="10mbit"))


def straight(*links: str, acks: dict[str, float] | None = None) -> Course:
    return Course(dict.fromkeys(links, 1.0), acks or {})


def way(fabric: Fabric, src: str, dst: str, spine: int) -> tuple[str, ...]:
    a, b = fabric.host(src), fabric.host(dst)
    if a.leaf == b.leaf:
        return f"{src}->{a.leaf}", f"{a.leaf}->{dst}"
    return f"{src}->{a.leaf}", f"{a.leaf}->spine{spine}", f"spine{spine}->{b.leaf}", f"{b.leaf}->{dst}"


def paths_of(fabric: Fabric, workload: Workload, spine: int = 1) -> dict[Pair, Path]:
    """All connections over one spine."""
    hosts = workload.hosts
    return {(s, d, k): Path(way(fabric, hosts[s], hosts[d], spine), way(fabric, hosts[d], hosts[s], spine))
            for s, d in lower(workload).pairs() for k in range(workload.flows_per_pair)}


def job(name: str, hosts: tuple[str, ...], *ops: Op, iterations: int = 1) -> Workload:
    return Workload(name=name, hosts=hosts, ops=ops, iterations=iterations)


def seconds(workload: Workload, fabric: Fabric, *changes: RateChange, spine: int = 1) -> list[float]:
    found = fluid_steps([lower(workload)], {workload.name: paths_of(fabric, workload, spine)}, fabric, changes)
    return [s.end - s.start for s in found[workload.name]]


def test_the_textbook_example_of_max_min_fairness() -> None:
    """Bertsekas and Gallager: three flows share a link of 1, the one that shares the next takes what is left there."""
    flows = {1: straight("a"), 2: straight("a"), 3: straight("a", "b"), 4: straight("b")}
    assert fair_rates(flows, {"a": 1.0, "b": 1.0}) == pytest.approx({1: 1 / 3, 2: 1 / 3, 3: 1 / 3, 4: 2 / 3})


def test_a_flow_that_crosses_no_link_is_not_held_up() -> None:
    assert fair_rates({1: straight(), 2: straight("a")}, {"a": 5.0}) == {1: float("inf"), 2: 5.0}


def test_acks_take_room_and_hold_nobody_up() -> None:
    """x on a, its ACKs on b; y on b: y = 10 - 0.02 x, x = 10 whatever b carries."""
    rates = fair_rates({"x": straight("a", acks={"b": 0.02}), "y": straight("b")}, {"a": 10.0, "b": 10.0})
    assert rates == pytest.approx({"x": 10.0, "y": 9.8}, rel=1e-4)


@given(st.lists(st.sets(st.sampled_from(LINKS), min_size=1), min_size=1, max_size=8),
       st.lists(st.floats(1, 100), min_size=4, max_size=4))
def test_no_link_carries_more_than_it_can_and_each_flow_has_a_full_one_where_it_is_not_poorer(
        ways: list[set[str]], sizes: list[float]) -> None:
    """The definition of max-min fairness by bottlenecks."""
    capacity = dict(zip(LINKS, sizes, strict=True))
    flows = {i: straight(*sorted(w)) for i, w in enumerate(ways)}
    rates = fair_rates(flows, capacity)
    load = {link: sum(rates[i] for i, w in enumerate(ways) if link in w) for link in LINKS}
    assert all(load[link] <= capacity[link] * (1 + 1e-9) for link in LINKS)
    for i, way_ in enumerate(ways):
        assert any(load[link] >= capacity[link] * (1 - 1e-9) and
                   rates[i] >= max(rates[k] for k, w in enumerate(ways) if link in w) * (1 - 1e-9) for link in way_)


def test_acks_that_a_slow_link_cannot_carry_pace_their_flow_and_leave_the_others_their_part() -> None:
    """10 bit/s of data ask for 0.2 of ACKs on a link of 0.1: it is shared evenly between them and y, 0.05 each."""
    flows = {"x": straight("a", acks={"b": 0.02}), "y": straight("b")}
    assert fair_rates(flows, {"a": 10.0, "b": 0.1}) == pytest.approx({"x": 2.5, "y": 0.05})
    assert fair_rates({"x": flows["x"]}, {"a": 10.0, "b": 0.1}) == pytest.approx({"x": 5.0})


def test_data_and_acks_in_both_directions_share_each_link() -> None:
    """x = y = 10 / 1.02: what each sends and the ACKs of the other fill both directions."""
    flows = {"x": straight("a", acks={"b": 0.02}), "y": straight("b", acks={"a": 0.02})}
    assert fair_rates(flows, {"a": 10.0, "b": 10.0}) == pytest.approx(dict.fromkeys("xy", 10 / 1.02))


def test_a_flow_over_a_link_without_any_rate_has_none_and_the_others_do_not_mind() -> None:
    flows = {"x": straight("a"), "y": straight("a", "b"), "z": straight("b", acks={"a": 0.02})}
    assert fair_rates(flows, {"a": 1.0, "b": 0.0}) == {"x": 1.0, "y": 0.0, "z": 0.0}


@st.composite
def networks(draw: st.DrawFn) -> tuple[dict[int, Course], dict[str, float]]:
    """Links from a thousandth to a thousand, each with its headers; flows whose data cross some of them and whose ACKs,
    from a thousandth of the data to half of it, cross others."""
    capacity = {link: draw(st.floats(1e-3, 1e3)) for link in LINKS}
    headers = {link: draw(st.sampled_from([1.0, 1.05, 1.08])) for link in LINKS}
    flows = {}
    for i in range(draw(st.integers(1, 10))):
        way_ = draw(st.permutations(LINKS))
        there = draw(st.integers(1, len(LINKS)))
        back = draw(st.integers(there, len(LINKS)))
        flows[i] = Course({link: headers[link] for link in way_[:there]},
                          {link: draw(st.floats(1e-3, 0.5)) for link in way_[there:back]})
    return flows, capacity


@given(networks())
def test_with_acks_no_link_carries_more_than_it_can_and_nobody_stands_still(
        network: tuple[dict[int, Course], dict[str, float]]) -> None:
    flows, capacity = network
    rates = fair_rates(flows, capacity)
    assert all(rate > 0 for rate in rates.values())
    for link, most in capacity.items():
        assert sum(flows[i].weights.get(link, 0.0) * rates[i] for i in flows) <= most * (1 + 1e-9)


@given(networks())
def test_rates_that_rise_together_are_those_of_levels_taken_in_turn(
        network: tuple[dict[int, Course], dict[str, float]]) -> None:
    flows, capacity = network
    quick = maxmin._rising(flows, capacity)
    if quick is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(maxmin, "_rising", lambda *_: None)
            assert fair_rates(flows, capacity) == pytest.approx(quick, rel=1e-5)


def test_acks_that_hold_nobody_up_take_the_quick_way_and_others_do_not() -> None:
    flows = {"x": straight("a", acks={"b": 0.02}), "y": straight("b", acks={"a": 0.02})}
    assert maxmin._rising(flows, {"a": 10.0, "b": 10.0}) is not None
    assert maxmin._rising(flows, {"a": 10.0, "b": 0.1}) is None


@given(networks())
def test_with_acks_each_flow_has_a_full_link_of_which_nobody_takes_more_than_it_does(
        network: tuple[dict[int, Course], dict[str, float]]) -> None:
    """Max-min fairness by bottlenecks: to give a flow more, a stream that takes no more of that link had to lose."""
    flows, capacity = network
    rates = fair_rates(flows, capacity)
    taken = {link: {i: c.weights[link] * rates[i] for i, c in flows.items() if link in c.weights} for link in LINKS}
    for i, mine in flows.items():
        assert any(sum(taken[link].values()) >= capacity[link] * (1 - 1e-9)
                   and taken[link][i] >= max(taken[link].values()) * (1 - 1e-9) for link in mine.weights)


@given(networks(), st.floats(0.01, 100))
def test_rates_follow_the_unit_of_the_capacities(
        network: tuple[dict[int, Course], dict[str, float]], unit: float) -> None:
    flows, capacity = network
    once, again = fair_rates(flows, capacity), fair_rates(flows, {k: unit * c for k, c in capacity.items()})
    assert again == pytest.approx({i: unit * rate for i, rate in once.items()}, rel=1e-6)


def test_a_step_ends_though_the_acks_come_back_over_a_link_that_cannot_carry_them(fabric: Fabric) -> None:
    """10 Mbit/s of data would need 0.25 Mbit/s of ACKs, the way back has 0.01: the ACKs pace the transfer."""
    one = job("w", ("h1", "h5"), Transfer("a", 0, 1, 100_000))
    path = Path(way(fabric, "h1", "h5", 1), way(fabric, "h5", "h1", 2))
    slow = RateChange(0.0, "leaf2->spine2", 1e4)
    (step,) = fluid_steps([lower(one)], {"w": {(0, 1, 0): path}}, fabric, [slow])["w"]
    ack = course(path, fabric, TCP.overhead).acks["leaf2->spine2"]
    assert step.end == pytest.approx(8e5 * ack / 1e4 + path_seconds(fabric, "h1", "h5"))


def test_a_ring_with_one_slow_link_is_predicted(fabric: Fabric) -> None:
    """Eight ranks, one uplink at a thousandth: data in one direction, ACKs of the others in both."""
    spec = CollectiveSpec.model_validate({"kind": "collective", "op": "all-reduce", "size": "100kB", "warmup": 0})
    ring = workload_of(spec, fabric, "w", 1)
    slow = [RateChange(0.0, d, 1e4) for d in ("leaf1->spine1", "spine1->leaf1")]
    assert seconds(ring, fabric, *slow)[0] > 100 * seconds(ring, fabric)[0]


def test_what_waits_for_a_link_without_rate_cannot_be_predicted_and_says_so(fabric: Fabric) -> None:
    one = job("w", ("h1", "h5"), Transfer("a", 0, 1, 100_000))
    with pytest.raises(Unpredictable, match="a transfer of w waits forever: a link on its way has rate 0"):
        seconds(one, fabric, RateChange(0.0, "leaf1->spine1", 0.0))
    back = seconds(one, fabric, RateChange(0.0, "leaf1->spine1", 0.0), RateChange(2.0, "leaf1->spine1", 10e6))
    assert back[0] == pytest.approx(2.0 + seconds(one, fabric)[0])


@pytest.mark.parametrize("what", [
    {"op": "all-reduce"}, {"op": "all-to-all"}, {"op": "all-reduce", "flows_per_pair": 3}])
def test_alone_and_spread_evenly_it_agrees_with_the_limit_of_the_busiest_port(what: dict[str, object]) -> None:
    wide = expand(FabricSpec(spines=1, uplink_rate="100mbit"))
    spec = CollectiveSpec.model_validate({"kind": "collective", "size": "2MB", **what})
    workload = workload_of(spec, wide, "w", 1)
    assert seconds(workload, wide)[0] == pytest.approx(step_seconds(workload, wide), rel=0.01)


def test_two_transfers_on_one_uplink_take_twice_as_long_each(fabric: Fabric) -> None:
    one = job("w", ("h1", "h5"), Transfer("a", 0, 1, 1_000_000))
    two = job("w", ("h1", "h5", "h2", "h6"), Transfer("a", 0, 1, 1_000_000), Transfer("b", 2, 3, 1_000_000))
    alone = 8e6 * (1564 / 1448) / 10e6
    latency = path_seconds(fabric, "h1", "h5")
    assert seconds(one, fabric)[0] == pytest.approx(alone + latency)
    assert seconds(two, fabric)[0] == pytest.approx(2 * alone + latency)


def test_a_transfer_gets_the_whole_link_when_the_other_has_ended(fabric: Fabric) -> None:
    """Half and half until the small one is through, then all: together no longer than one after the other."""
    two = job("w", ("h1", "h5", "h2", "h6"), Transfer("a", 0, 1, 1_000_000), Transfer("b", 2, 3, 200_000))
    assert seconds(two, fabric)[0] == pytest.approx(1.2 * 8e6 * (1564 / 1448) / 10e6 + path_seconds(fabric, "h1", "h5"))


def test_between_ranks_of_one_host_bytes_take_no_time(fabric: Fabric) -> None:
    """They never reach a link; what comes after them does."""
    ops = (Transfer("a", 0, 1, 1_000_000), Transfer("b", 1, 2, 1_000_000, after=("a",)))
    folded = job("w", ("h1", "h1", "h5"), *ops)
    paths = {(0, 1, 0): Path((), ()), (1, 2, 0): Path(way(fabric, "h1", "h5", 1), way(fabric, "h5", "h1", 1))}
    (step,) = fluid_steps([lower(folded)], {"w": paths}, fabric)["w"]
    assert step.end == pytest.approx(8e6 * (1564 / 1448) / 10e6 + path_seconds(fabric, "h1", "h5"))


def test_what_passes_on_does_not_wait_for_the_whole(fabric: Fabric) -> None:
    """A chain over three hosts takes one slice longer than one hop, not twice as long."""
    size = 3_276_800
    chain = job("w", ("h1", "h2", "h3"), Transfer("a", 0, 1, size), Transfer("b", 1, 2, size, behind="a"))
    hop = 8 * size / TCP.overhead.bulk_limit(10e6)
    assert hop * 1.005 < seconds(chain, fabric)[0] < hop * 1.05


def test_dependencies_hold_and_every_iteration_takes_the_same(fabric: Fabric) -> None:
    ops = (Compute("c", 0, 0.5), Transfer("a", 0, 1, 100_000, after=("c",)), Compute("d", 1, 0.25, after=("a",)))
    found = seconds(job("w", ("h1", "h5"), *ops, iterations=3), fabric)
    expected = 0.75 + 8e5 * (1564 / 1448) / 10e6 + path_seconds(fabric, "h1", "h5")
    assert found == pytest.approx([expected] * 3)


def test_a_rate_that_changes_halfway_counts_from_then_on(fabric: Fabric) -> None:
    whole = 8e6 * (1564 / 1448) / 10e6
    one = job("w", ("h1", "h5"), Transfer("a", 0, 1, 1_000_000))
    change = RateChange(whole / 2, "leaf1->spine1", 1e6)
    latency = path_seconds(fabric, "h1", "h5")
    assert seconds(one, fabric, change)[0] == pytest.approx(whole / 2 + 10 * whole / 2 + latency)
    assert seconds(one, fabric, change, spine=2)[0] == pytest.approx(whole + latency)


def test_two_equal_jobs_on_one_spine_slow_each_other_down_by_two(fabric: Fabric) -> None:
    jobs = [job(f"w{i}", hosts, Transfer("a", 0, 1, 1_000_000), iterations=4)
            for i, hosts in enumerate([("h1", "h5"), ("h2", "h6")])]
    paths = {w.name: paths_of(fabric, w) for w in jobs}
    alone, both = model.on_paths(jobs[:1], paths, fabric)["w0"], model.on_paths(jobs, paths, fabric)
    factors = [both[w.name]["jct_on_paths"].value / alone["jct_on_paths"].value for w in jobs]
    assert factors == pytest.approx([2, 2], rel=0.01)
    assert alone["jct_on_paths"].value == pytest.approx(4 * alone["step_time_on_paths"].value)


def test_too_much_to_simulate_is_not_predicted_at_all(fabric: Fabric) -> None:
    many = job("w", ("h1", "h5"), *(Transfer(f"t{i}", 0, 1, 1) for i in range(1000)), iterations=300)
    with pytest.raises(Unpredictable, match="1 connections and 300000 operations, of at most 600 and 200000"):
        fluid_steps([lower(many)], {"w": paths_of(fabric, many)}, fabric)
