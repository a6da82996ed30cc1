"""Halving-doubling, hierarchical and broadcast proven on symbols, like the rings of test_collectives.

A contribution is (rank, chunk). Moves run in random orders that respect only `behind` and `after`; a move
takes what its sender holds at that moment, so a missing dependency shows as a missing contribution.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from topologies.model.errors import SpecError
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from traffic.collectives import Move, algorithm_for, schedule, span
from traffic.metrics.collective import busiest_port, factor
from traffic.models.predict import predict
from traffic.workloads.lowering import lower
from traffic.workloads.workload import Collective, Transfer, Workload

Buffers = dict[tuple[int, int], Counter[tuple[int, int]]]
KINDS = [("all-reduce", "halving-doubling"), ("all-reduce", "hierarchical"), ("broadcast", "ring"),
         ("broadcast", "tree")]


def collective(kind: str, algorithm: str, n: int, size: int = 1000, groups: int = 2) -> Collective:
    """n ranks that are not 0 .. n-1; hierarchical in `groups` groups whose members are dealt out in turn."""
    ranks = tuple(random.Random(n).sample(range(100), n))   # noqa: S311 - any ranks
    dealt = tuple(ranks[k::groups] for k in range(groups)) if algorithm == "hierarchical" else None
    return Collective("c", kind, ranks, size, algorithm, groups=dealt)      # type: ignore[arg-type]


def execute(moves: tuple[Move, ...], buffers: Buffers, seed: int) -> Buffers:
    draw, done, left = random.Random(seed), set(), list(moves)  # noqa: S311 - an order
    while left:
        ready = [m for m in left if {*m.after, *([m.behind] if m.behind else [])} <= done]
        assert ready, f"moves that wait for each other: {left}"
        m = draw.choice(ready)
        left.remove(m)
        done.add(m.id)
        for chunk in range(m.chunk, m.chunk + m.chunks):
            mine = buffers.get((m.dst, chunk), Counter()) if m.reduce else Counter()
            buffers[m.dst, chunk] = mine + buffers.get((m.src, chunk), Counter())
    return buffers


def check_all_reduce(c: Collective, seed: int) -> None:
    n = len(c.ranks)
    buffers = execute(schedule(c), {(r, k): Counter({(r, k): 1}) for r in c.ranks for k in range(n)}, seed)
    for k in range(n):
        for r in c.ranks:
            assert buffers[r, k] == Counter({(q, k): 1 for q in c.ranks}), (r, k)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_halving_doubling_gives_every_rank_each_contribution_once(n: int) -> None:
    for seed in range(5):
        check_all_reduce(collective("all-reduce", "halving-doubling", n), seed)


@pytest.mark.parametrize(("n", "groups"), [(4, 2), (6, 2), (6, 3), (8, 4), (12, 3), (4, 1), (4, 4)])
def test_hierarchical_gives_every_rank_each_contribution_once(n: int, groups: int) -> None:
    for seed in range(5):
        check_all_reduce(collective("all-reduce", "hierarchical", n, groups=groups), seed)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("algorithm", ["ring", "tree"])
def test_broadcast_brings_the_first_ranks_buffer_to_all_and_nothing_else(n: int, algorithm: str) -> None:
    c = collective("broadcast", algorithm, n)
    for seed in range(5):
        start = {(r, k): Counter({(r, k): 1}) for r in c.ranks for k in range(n)}
        buffers = execute(schedule(c), start, seed)
        assert all(buffers[r, k] == Counter({(c.ranks[0], k): 1}) for r in c.ranks for k in range(n))


@examples(40)
@given(st.sampled_from(KINDS), st.sampled_from([2, 4, 8, 16]), st.integers(0, 10_007))
def test_bytes_of_uneven_sizes_are_all_accounted_for(kind: tuple[str, str], n: int, size: int) -> None:
    c = collective(*kind, n, size)
    moves = schedule(c)
    assert sum(m.size for m in moves) == (2 if c.kind == "all-reduce" else 1) * (n - 1) * size
    assert all(m.size == span(size, n, m.chunk, m.chunks) for m in moves)
    assert len({m.id for m in moves}) == len(moves)


def test_halving_doubling_sends_its_largest_messages_to_the_nearest_rank() -> None:
    c = Collective("c", "all-reduce", tuple(range(8)), 8000, "halving-doubling")
    sent = [(m.dst, m.size) for m in schedule(c) if m.src == 5]
    assert sent == [(4, 4000), (7, 2000), (1, 1000), (1, 1000), (7, 2000), (4, 4000)]


def test_hierarchical_takes_only_shares_across_the_leaves() -> None:
    leaves = ((0, 1, 2, 3), (4, 5, 6, 7))
    c = Collective("c", "all-reduce", tuple(range(8)), 8000, "hierarchical", groups=leaves)
    across = Counter[int]()
    for m in schedule(c):
        if (m.src < 4) != (m.dst < 4):
            across[m.src] += m.size
    assert across == Counter(dict.fromkeys(range(8), 2000))     # 2 (m-1)/m S/g: m = 2 leaves of g = 4
    assert busiest_port(c) == 14_000                            # 2 (n-1)/n S, as a ring's


def test_a_tree_is_shallow_and_its_inner_ranks_send_twice() -> None:
    moves = schedule(Collective("c", "broadcast", tuple(range(7)), 100, "tree"))
    assert Counter(m.src for m in moves) == Counter({0: 2, 1: 2, 2: 2})
    by_id = {m.id: m for m in moves}
    assert all(by_id[m.behind].dst == m.src for m in moves if m.behind)
    assert [m.behind for m in moves if m.src == 0] == ["", ""]


@pytest.mark.parametrize(("c", "message"), [
    (Collective("c", "all-reduce", tuple(range(6)), 10, "halving-doubling"),
     "2, 4, 8, 16, ... ranks for halving-doubling (a power of two); found 6; 4 and 8 can be served"),
    (Collective("c", "all-reduce", (0, 1, 2), 10, "hierarchical"), "groups of ranks for hierarchical"),
    (Collective("c", "all-reduce", (0, 1, 2), 10, "hierarchical", groups=((0, 1), (2,))), "groups of 2, 1 ranks"),
    (Collective("c", "all-reduce", (0, 1, 2, 3), 10, "hierarchical", groups=((0, 1), (1, 2))),
     "hold each rank of the collective once; found 0, 1; 1, 2"),
    (Collective("c", "broadcast", (0, 1), 10, "direct"), "an algorithm for broadcast: ring or tree; found direct"),
])
def test_counts_that_an_algorithm_cannot_serve_are_refused(c: Collective, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        schedule(c)
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_engines_program_and_the_predictions_exist_for_each(kind: tuple[str, str]) -> None:
    c = Collective("c", kind[0], tuple(range(8)), 8_000_000, kind[1],       # type: ignore[arg-type]
                   groups=((0, 1, 2, 3), (4, 5, 6, 7)) if kind[1] == "hierarchical" else None)
    fabric = expand(FabricSpec(leaves=2, hosts_per_leaf=4))
    workload = Workload("w", tuple(h.name for h in fabric.hosts), (c,))
    moved = sum(op.size for op in lower(workload).ops if isinstance(op, Transfer))
    assert moved == sum(m.size for m in schedule(c))
    found = predict(workload, fabric)
    rate = fabric.access_link("h1").rate
    assert 0.85 * rate < found["busbw"].value < rate
    assert found["time"].value > 8 * busiest_port(c) / rate


def test_bus_bandwidth_of_a_broadcast_is_its_algorithm_bandwidth() -> None:
    assert factor("broadcast", 8) == 1.0
    assert (algorithm_for("broadcast"), algorithm_for("all-to-all")) == ("ring", "direct")
