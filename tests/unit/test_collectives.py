"""Collectives proven on symbols: every rank ends with exactly the contributions that it should have.

A contribution is (rank, chunk), and a chunk of a buffer holds a multiset of them. Moves are executed in
random orders that respect nothing but what the schedule itself says (`behind`, `after`).
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from topologies.model.errors import SpecError
from traffic.collectives import Move, part, schedule
from traffic.workloads.workload import Collective

Buffers = dict[tuple[int, int], Counter[tuple[int, int]]]      # (rank, chunk) -> contributions

KINDS = [(kind, algorithm) for kind in ("all-reduce", "all-gather", "reduce-scatter")
         for algorithm in ("ring", "direct")]


def collective(kind: str, algorithm: str, n: int, size: int = 1000, splits=None) -> Collective:
    ranks = tuple(random.Random(n).sample(range(100), n))   # noqa: S311 - not 0 .. n-1, that is all
    return Collective("c", kind, ranks, size, algorithm, splits)


def execute(moves: tuple[Move, ...], buffers: Buffers, seed: int) -> None:
    """Carry out the moves in an order drawn among those whose requirements are met."""
    draw, done, left = random.Random(seed), set(), list(moves)  # noqa: S311 - an order
    while left:
        ready = [m for m in left if {*m.after, *([m.behind] if m.behind else [])} <= done]
        assert ready, f"moves that wait for each other: {left}"
        m = draw.choice(ready)
        left.remove(m)
        done.add(m.id)
        payload = Counter(buffers[m.src, m.chunk])
        if m.reduce:
            buffers[m.dst, m.chunk] = buffers.get((m.dst, m.chunk), Counter()) + payload
        else:
            buffers[m.dst, m.chunk] = payload


def run(c: Collective, seed: int) -> Buffers:
    n = len(c.ranks)
    if c.kind == "all-gather":
        buffers = {(r, i): Counter({(r, i): 1}) for i, r in enumerate(c.ranks)}
    elif c.kind == "all-to-all":
        buffers = {(r, i * n + j): Counter({(r, j): 1}) for i, r in enumerate(c.ranks) for j in range(n)}
    else:
        buffers = {(r, k): Counter({(r, k): 1}) for r in c.ranks for k in range(n)}
    execute(schedule(c), buffers, seed)
    return buffers


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("algorithm", ["ring", "direct"])
def test_all_reduce_gives_every_rank_each_contribution_once(n, algorithm):
    c = collective("all-reduce", algorithm, n)
    for seed in range(5):
        buffers = run(c, seed)
        for k in range(n):
            for r in c.ranks:
                assert buffers[r, k] == Counter({(q, k): 1 for q in c.ranks}), (r, k)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("algorithm", ["ring", "direct"])
def test_reduce_scatter_completes_chunk_i_at_member_i(n, algorithm):
    c = collective("reduce-scatter", algorithm, n)
    for seed in range(5):
        buffers = run(c, seed)
        for i, r in enumerate(c.ranks):
            assert buffers[r, i] == Counter({(q, i): 1 for q in c.ranks})


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("algorithm", ["ring", "direct"])
def test_all_gather_copies_every_chunk_to_every_rank(n, algorithm):
    c = collective("all-gather", algorithm, n)
    for seed in range(5):
        buffers = run(c, seed)
        for i, owner in enumerate(c.ranks):
            for r in c.ranks:
                assert buffers[r, i] == Counter({(owner, i): 1})


@pytest.mark.parametrize("n", [2, 3, 8])
def test_all_to_all_brings_each_part_to_its_receiver_and_nowhere_else(n):
    c = collective("all-to-all", "direct", n)
    buffers = run(c, 0)
    for j, r in enumerate(c.ranks):
        for i, sender in enumerate(c.ranks):
            assert buffers[r, i * n + j] == Counter({(sender, j): 1})
            for other in set(range(n)) - {j}:
                assert i == j or (r, i * n + other) not in buffers


@examples(60)
@given(st.sampled_from(KINDS), st.integers(2, 9), st.integers(0, 10_007))
def test_bytes_of_uneven_sizes_are_all_accounted_for(kind, n, size):
    c = collective(*kind, n, size)
    moves = schedule(c)
    factor = 2 * (n - 1) if c.kind == "all-reduce" else n - 1
    assert sum(m.size for m in moves) == factor * size
    for m in moves:
        assert m.size == part(size, n, m.chunk)


@given(st.integers(0, 10**9), st.integers(1, 64))
def test_parts_differ_by_at_most_one_byte_and_add_up(size, n):
    parts = [part(size, n, i) for i in range(n)]
    assert sum(parts) == size
    assert max(parts) - min(parts) <= 1


@pytest.mark.parametrize("kind", ["all-reduce", "all-gather", "reduce-scatter"])
def test_a_ring_sends_to_the_right_neighbour_only_and_loads_all_ranks_evenly(kind):
    c = collective(kind, "ring", 6, 6000)
    sent: Counter[int] = Counter()
    for m in schedule(c):
        assert c.ranks.index(m.dst) == (c.ranks.index(m.src) + 1) % 6
        sent[m.src] += m.size
    assert set(sent.values()) == {(10 if kind == "all-reduce" else 5) * 1000}


def test_a_pipelined_move_passes_on_the_same_chunk_from_its_own_rank():
    moves = {m.id: m for m in schedule(collective("all-reduce", "ring", 5, 999))}
    followers = [m for m in moves.values() if m.behind]
    assert len(followers) == 5 * 7      # all but the first of 8 steps
    for m in followers:
        first = moves[m.behind]
        assert (first.dst, first.chunk, first.size) == (m.src, m.chunk, m.size)


def test_all_to_all_v_moves_exactly_its_splits_and_keeps_own_parts_at_home():
    splits = ((7, 1, 0), (20, 5, 300), (4, 9, 2))
    c = collective("all-to-all", "direct", 3, 0, splits)
    moved = {(c.ranks.index(m.src), c.ranks.index(m.dst)): m.size for m in schedule(c)}
    assert moved == {(i, j): splits[i][j] for i in range(3) for j in range(3) if i != j}


@pytest.mark.parametrize(("c", "message"), [
    (Collective("c", "all-reduce", (0,), 10), "two or more different ranks; found 0"),
    (Collective("c", "all-reduce", (0, 1, 0), 10), "two or more different ranks; found 0, 1, 0"),
    (Collective("c", "all-reduce", (0, 1), -1), "zero or more bytes; found -1"),
    (Collective("c", "all-to-all", (0, 1), 10, "ring"), "an algorithm for all-to-all: direct; found ring"),
    (Collective("c", "all-reduce", (0, 1), 10, splits=((0, 1), (1, 0))), "splits on all-reduce"),
    (Collective("c", "all-to-all", (0, 1), 10, "direct", ((0, 1),)), "splits of 2 rows with 2 sizes each"),
    (Collective("c", "all-to-all", (0, 1), 10, "direct", ((0, 1), (-1, 0))), "zero or more bytes; found -1"),
])
def test_a_collective_that_makes_no_sense_is_refused(c, message):
    with pytest.raises(SpecError) as caught:
        schedule(c)
    assert message in str(caught.value)
