"""Workloads: their JSON, what is refused, and what each rank of a lowered program waits for."""

from __future__ import annotations

import json

import pytest

from scenarios.spec.load_scenario import load_scenario
from tests.workloads import workload_of
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from traffic.workloads.lowering import Program, lower
from traffic.workloads.placement import place
from traffic.workloads.specs import CollectiveSpec
from traffic.workloads.workload import Collective, Compute, Op, Transfer, Workload, from_json, read, save, to_json

HOSTS = ("h1", "h2", "h3", "h4")


def workload(*ops: Op, **other) -> Workload:
    return Workload("w", HOSTS, ops, **other)


def waits(program: Program) -> dict[str, tuple[str, ...]]:
    return {op.id: op.after for op in program.ops}


def refused(*ops: Op, **other) -> str:
    with pytest.raises(SpecErrors) as caught:
        lower(workload(*ops, **other))
    return str(caught.value)


EVERYTHING = workload(
    Compute("a", 0, 0.5), Transfer("req/1", 0, 1, 10, at=0.25), Transfer("resp/1", 1, 0, 20, after=("req/1",),
                                                                         reply="req/1"),
    Collective("ar", "all-reduce", (0, 1, 2, 3), 999, after=("a",)),
    Collective("v", "all-to-all", (0, 1), 5, "direct", ((0, 5), (3, 0))),
    iterations=3, warmup=1, flows_per_pair=2, timeout=5.0, notes={"origin": "a test"})


def test_a_workload_survives_its_json(tmp_path):
    assert from_json(json.loads(json.dumps(to_json(EVERYTHING)))) == EVERYTHING
    save(EVERYTHING, tmp_path / "w.json")
    assert read(tmp_path / "w.json") == EVERYTHING


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d["ops"][1].update(sise=3), "workload.ops.1.sise"),
    (lambda d: d["ops"][1].update(size="many"), "workload.ops.1.size"),
    (lambda d: d["ops"][0].update(op="sleep"), "one of compute, transfer, collective"),
    (lambda d: d.update(iterations="x"), "workload.iterations"),
    (lambda d: d.update(colour="red"), "workload.colour"),
    (lambda d: d.pop("ops"), "an object with name, hosts and ops"),
])
def test_json_that_is_no_workload_is_refused_by_place(change, message):
    data = to_json(EVERYTHING)
    change(data)
    with pytest.raises(SpecError) as caught:
        from_json(data)
    assert message in str(caught.value)


def test_a_rank_waits_for_its_own_part_of_a_collective_only():
    program = lower(workload(Collective("ar", "all-reduce", (0, 1, 2), 300), Compute("next", 1, 1.0, after=("ar",))))
    after = waits(program)
    assert after["next"] == ("ar/end/1",)
    into_1 = {op.id for op in program.ops if isinstance(op, Transfer) and op.dst == 1}
    assert set(after["ar/end/1"]) == into_1 | {"ar/begin/1"}


def test_a_rank_that_takes_no_part_waits_for_the_whole_collective():
    program = lower(workload(Collective("ag", "all-gather", (0, 1), 8), Compute("next", 3, 1.0, after=("ag",))))
    assert waits(program)["next"] == ("ag/end/0", "ag/end/1")


def test_each_member_joins_a_collective_when_its_own_work_is_done():
    program = lower(workload(Compute("a", 0, 0.1), Compute("b", 1, 0.2), Compute("c", 3, 0.3),
                             Collective("ar", "all-reduce", (0, 1), 10, after=("a", "b", "c"))))
    after = waits(program)
    assert after["ar/begin/0"] == ("a", "c")        # b is the work of the other member, c of neither
    assert after["ar/begin/1"] == ("b", "c")
    for op in program.ops:
        if isinstance(op, Transfer):
            assert f"ar/begin/{op.src}" in op.after


def test_an_answer_comes_after_its_request_even_if_nobody_says_so():
    program = lower(workload(Transfer("q", 0, 1, 10), Transfer("a", 1, 0, 20, reply="q")))
    assert waits(program)["a"] == ("q",)
    assert list(program.pairs()) == [(0, 1)]        # the answer needs no connection of its own


def test_a_program_counts_the_bytes_of_an_iteration():
    assert lower(EVERYTHING).total_bytes == 10 + 20 + 2 * 3 * 999 + 5 + 3


def test_operations_that_wait_for_themselves_are_shown():
    text = refused(Compute("a", 0, 1.0, after=("b",)), Compute("b", 1, 1.0, after=("a",)))
    assert "a -> b -> a" in text or "b -> a -> b" in text


def test_a_transfer_behind_one_that_waits_for_it_is_a_cycle():
    text = refused(Transfer("t", 0, 1, 5, after=("u",)), Transfer("u", 1, 2, 5, behind="t"))
    assert "t -> u -> t" in text or "u -> t -> u" in text


@pytest.mark.parametrize(("ops", "message"), [
    ([Compute("a", 0, 1.0, after=("ghost",))], "w, a: expected after to name operations of the workload; found ghost"),
    ([Compute("a", 4, 1.0)], "ranks from 0 to 3; found 4"),
    ([Compute("a", 0, -1.0)], "zero or more seconds; found -1"),
    ([Compute("a", 0, 1.0), Compute("a", 1, 1.0)], "an id of its own"),
    ([Transfer("t", 1, 1, 5)], "a transfer between two ranks; found rank 1 to itself"),
    ([Transfer("t", 0, 1, -5)], "zero or more"),
    ([Transfer("u", 0, 1, 5), Transfer("t", 2, 3, 5, behind="u")], "behind to name a transfer of 5 B into rank 2"),
    ([Transfer("u", 0, 1, 5), Transfer("t", 1, 3, 6, behind="u")], "behind to name a transfer of 6 B into rank 1"),
    ([Transfer("t", 1, 3, 6, behind="u")], "found u, which does not exist"),
    ([Compute("u", 0, 5), Transfer("t", 1, 3, 6, reply="u")], "found u, a compute"),
    ([Transfer("u", 0, 1, 5), Transfer("t", 1, 3, 6, reply="u")], "reply to name a request from rank 3 to rank 1"),
    ([Transfer("u", 0, 1, 0), Transfer("t", 1, 0, 6, reply="u")], "a request of 1 or more bytes"),
    ([Collective("c", "all-reduce", (0, 7), 6)], "ranks from 0 to 3; found 7"),
])
def test_operations_that_cannot_run_are_refused(ops, message):
    assert message in refused(*ops)


def test_everything_wrong_is_reported_at_once():
    text = refused(Compute("a", 9, -1.0), iterations=0, flows_per_pair=0, timeout=0.0)
    for part in ("ranks from 0 to 3", "zero or more seconds", "1 or more iterations", "flows_per_pair", "timeout"):
        assert part in text
    assert "flows_per_pair 1 with a pool" in refused(flows_per_pair=2, connections="pool")


# -- placement and building ---------------------------------------------------------------------------

FABRIC = expand(FabricSpec(name="f", leaves=3, spines=1,
                           racks={"leaf1": ("a1", "a2", "a3"), "leaf2": ("b1",), "leaf3": ("c1", "c2")}))


def test_packed_fills_one_leaf_after_the_other():
    assert place("packed", 4, FABRIC) == ("a1", "a2", "a3", "b1")


def test_strided_takes_leaves_in_turn_and_passes_over_full_ones():
    assert place("strided", None, FABRIC) == ("a1", "b1", "c1", "a2", "c2", "a3")


def test_a_list_names_the_host_of_each_rank():
    assert place(("c1", "a1"), None, FABRIC) == ("c1", "a1")


@pytest.mark.parametrize(("placement", "ranks", "message"), [
    ("strided", 7, "at most 6, one for each host of fabric f; found 7"),
    (("a1", "b1"), 3, "at most 2"),
    (("a1", "zz"), None, "the name of a host or a switch; found zz"),
    (("a1", "leaf1"), None, "the name of a host; found leaf1, a leaf"),
    (("a1", "a1"), None, "each host once; found a1"),
])
def test_ranks_without_a_host_of_their_own_are_refused(placement, ranks, message):
    with pytest.raises(SpecError) as caught:
        place(placement, ranks, FABRIC)
    assert message in str(caught.value)


def test_a_collective_spec_becomes_a_workload_in_emulated_units():
    fabric = expand(FabricSpec.model_validate({"leaves": 2, "scale": {"rate": "1/100", "size": "1/1000"}}))
    spec = CollectiveSpec.model_validate({"kind": "collective", "size": "8MB", "compute": "2s", "flows_per_pair": 4})
    made = workload_of(spec, fabric, "ring", 1)
    assert made.hosts == ("h1", "h5", "h2", "h6", "h3", "h7", "h4", "h8")
    ring = made.ops[-1]
    assert isinstance(ring, Collective)
    assert (ring.size, ring.algorithm, ring.ranks) == (8000, "ring", tuple(range(8)))
    assert made.ops[0] == Compute("compute/0", 0, pytest.approx(0.2))
    assert (made.flows_per_pair, made.congestion_control) == (4, "cubic")
    lower(made)


def test_an_all_to_all_spec_is_direct_and_a_wrong_one_is_refused_by_name():
    spec = CollectiveSpec.model_validate(
        {"kind": "collective", "op": "all-to-all", "size": "3B", "ranks": 2, "splits": [[1, 2], [3, 4]]})
    made = workload_of(spec, FABRIC, "a2av", 1).ops[0]
    assert isinstance(made, Collective)
    assert (made.algorithm, made.size) == ("direct", 7)
    with pytest.raises(SpecError, match=r"workloads\.a2av: expected splits of 3 rows"):
        workload_of(spec.model_copy(update={"ranks": 3}), FABRIC, "a2av", 1)


def test_a_collective_of_no_bytes_is_refused_and_a_message_of_none_is_over_without_the_network(tmp_path):
    text = '{"name": "z", "question": "why", "fabric": "small", "workloads": {"a": {"kind": "collective", %s}}}'
    path = tmp_path / "z.yml"
    path.write_text(text % '"size": "0B"')
    with pytest.raises(SpecErrors, match=r"workloads\.a\.size: expected a number above 0; found 0"):
        load_scenario(str(path))
    path.write_text(text % '"size": "1kB", "op": "all-to-all", "ranks": 2, "splits": [[0, 0], [500, 0]]')
    spec = load_scenario(str(path)).workloads["a"]
    program = lower(workload_of(spec, FABRIC, "a", 1))
    sizes = {(op.src, op.dst): op.size for op in program.ops if isinstance(op, Transfer)}
    assert sizes.get((0, 1), 0) == 0
    assert sizes[1, 0] == 500
    assert program.total_bytes == 500


def test_a_collective_with_fewer_bytes_than_ranks_moves_each_of_them():
    spec = CollectiveSpec.model_validate({"kind": "collective", "size": "3B", "ranks": 6})
    program = lower(workload_of(spec, FABRIC, "a", 1))
    assert program.total_bytes == 2 * 5 * 3
