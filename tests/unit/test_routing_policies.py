"""Which replica each routing policy chooses."""

from __future__ import annotations

from collections.abc import Sequence as Row

from traffic.inference.routing import POLICIES, Ask, ReplicaView

# --- routing --------------------------------------------------------------------------------------


def views(**replicas: dict[str, float]) -> list[ReplicaView]:
    return [ReplicaView(name, **keys) for name, keys in replicas.items()]     # type: ignore[arg-type]


def chosen(policy: str, replicas: Row[ReplicaView], **ask: object) -> str:
    return POLICIES[policy](Ask(**{"number": 0, **ask}), replicas).name     # type: ignore[arg-type]


THREE = views(a={"outstanding": 3}, b={"outstanding": 1}, c={"outstanding": 2})


def test_round_robin_takes_turns() -> None:
    assert [chosen("round_robin", THREE, number=n) for n in range(4)] == ["a", "b", "c", "a"]


def test_random_follows_the_draw() -> None:
    assert [chosen("random", THREE, draws=(d, 0.0)) for d in (0.0, 0.34, 0.99)] == ["a", "b", "c"]


def test_power_of_two_takes_the_less_busy_of_two_different_ones() -> None:
    assert chosen("power_of_two", THREE, draws=(0.0, 0.99)) == "c"      # a and c
    assert chosen("power_of_two", THREE, draws=(0.5, 0.0)) == "b"       # b and a
    assert chosen("power_of_two", THREE[:1], draws=(0.9, 0.9)) == "a"


def test_least_outstanding_takes_the_fewest_and_of_equals_the_one_that_is_drawn() -> None:
    assert chosen("least_outstanding", THREE, tie=0.99) == "b"
    alike = views(a={"outstanding": 1}, b={}, c={}, d={"outstanding": 1}, e={})
    assert [chosen("least_outstanding", alike, tie=t) for t in (0.0, 0.34, 0.99)] == ["b", "c", "e"]


def test_a_session_keeps_its_replica_and_only_those_of_a_lost_one_move() -> None:
    sessions = [f"s{n}" for n in range(200)]
    before = {s: chosen("consistent_hash", THREE, session=s) for s in sessions}
    after = {s: chosen("consistent_hash", THREE[:2], session=s) for s in sessions}
    assert all(after[s] == before[s] for s in sessions if before[s] != "c")
    assert min(list(before.values()).count(name) for name in "abc") > 30


def test_cache_aware_follows_a_prefix_of_more_than_three_tenths_else_it_takes_the_least_loaded() -> None:
    replicas = views(a={"overlap": 3, "outstanding": 1}, b={"overlap": 4, "outstanding": 9}, c={"outstanding": 2})
    assert chosen("cache_aware", replicas, blocks=10) == "b"
    assert chosen("cache_aware", replicas, blocks=20) == "a"        # 4 / 20 is too little
    assert [chosen("cache_aware", views(a={}, b={}), blocks=9, tie=t) for t in (0.0, 0.5)] == ["a", "b"]


def test_cache_aware_takes_the_less_loaded_of_two_that_have_the_same_prefix() -> None:
    replicas = views(a={"overlap": 8, "outstanding": 5}, b={"overlap": 8, "outstanding": 2}, c={"overlap": 7})
    assert chosen("cache_aware", replicas, blocks=10) == "b"


def test_cache_aware_balances_when_one_replica_is_far_busier() -> None:
    busy = views(a={"overlap": 10, "outstanding": 100}, b={"outstanding": 30})
    assert chosen("cache_aware", busy, blocks=10) == "b"            # 70 more, 3.3 times
    near = views(a={"overlap": 10, "outstanding": 94}, b={"outstanding": 30})
    assert chosen("cache_aware", near, blocks=10) == "a"            # 64 more is not above 64
    alike = views(a={"overlap": 10, "outstanding": 210}, b={"outstanding": 140})
    assert chosen("cache_aware", alike, blocks=10) == "a"           # 70 more, but 1.5 times is not above 1.5


def test_kv_cost_weighs_blocks_to_prefill_against_blocks_held() -> None:
    replicas = views(a={"overlap": 8, "decode_blocks": 10}, b={"decode_blocks": 1}, c={"prefill_blocks": 9})
    assert chosen("kv_cost", replicas, blocks=10) == "b"            # 2 + 10, 10 + 1, 19
    assert chosen("kv_cost", [replicas[0], replicas[2]], blocks=10) == "a"
