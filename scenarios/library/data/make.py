"""Makes the sample inputs of the library, from seeds: the same bytes on every machine.

    python scenarios/library/data/make.py [DIRECTORY]

dlrm-small/          one step of a small recommendation model (embeddings + MLP) on 8 ranks, in the format
                     of PyTorch execution traces with Kineto profiles: an all-to-all, three all-to-all-v,
                     of which one is skewed towards the rank with the popular table, and two all-reduces.
                     A step takes about 3 s at 10 Mbit/s per host.
requests-small.csv   150 requests in 30 s in the format of the Azure LLM traces: Poisson arrivals, silence
                     from 9 to 13 s, a burst of 40 in 1.5 s at 18 s. The median prompt has 412 tokens, the
                     median answer 153: at 64 and 192 bytes a token the median transfer has 18 and 20
                     packets, so nothing is below scale.

mooncake-small.jsonl 90 requests in 45 s in the format of Mooncake's traces, stamps rounded down to 3 s: every
                     prompt begins with block 0, two in three go on with one of six shared documents, and one in
                     three repeats an earlier prompt and adds to it. Prompts of 1 to 12 blocks of 512 tokens.

Nothing here is measured; the shapes are invented to be small and to show every feature of the readers.
"""

# ruff: noqa: S311 - sample data, no secrets
from __future__ import annotations

import json
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

Node = dict[str, object]
Call = tuple[str, int, list[list[int]], int]

RANKS, HOT = 8, 5               # rank 5 owns the popular table
FLOAT, INT = 4, 4               # bytes of an element
ROWS = 12_288                   # elements from each rank to each other one: 48 kB of embeddings
STEP_START = 1_735_732_800_000_000      # microseconds, 2025-01-01 12:00 UTC
FABRIC = 12.5e3                 # bytes per microsecond that the made-up GPUs reach: 100 Gb/s
SILENCE, BURST, BURST_LENGTH = (9.0, 13.0), 18.0, 1.5


def main(directory: Path) -> None:
    steps = directory / "dlrm-small"
    steps.mkdir(parents=True, exist_ok=True)
    calls = collectives(random.Random(2501))
    kernels = schedule(random.Random(2502), calls)
    for rank in range(RANKS):
        write_rows(steps / f"et_comm_rank{rank}.jsonl", execution_trace(rank, calls))
        write_rows(steps / f"kineto_comm_rank{rank}.jsonl", profile(rank, calls, kernels[rank]))
    write_requests(directory / "requests-small.csv", random.Random(2503))
    write_blocks(directory / "mooncake-small.jsonl", random.Random(2504))


def write_rows(path: Path, rows: list[Node]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


# --- a training step ------------------------------------------------------------------------------


def collectives(rng: random.Random) -> list[Call]:
    """(op, elements of a rank or 0, splits[i][j] in elements or none, microseconds of compute before it)."""
    even = [[ROWS] * RANKS for _ in range(RANKS)]
    popular = [[int(rng.uniform(0.7, 1.3) * (24_000 if j == HOT else 4_400)) for j in range(RANKS)]
               for _ in range(RANKS)]
    return [
        ("all_to_all", 4_096 * RANKS, [], 40_000),      # how many rows each one will ask for
        ("all_to_allv", 0, popular, 15_000),            # which rows: skewed
        ("all_to_allv", 0, even, 60_000),               # the embeddings themselves
        ("allreduce", 150_000, [], 80_000),             # gradients of the top MLP
        ("all_to_allv", 0, even, 0),                    # gradients of the embeddings, queued right behind
        ("allreduce", 75_000, [], 60_000),              # gradients of the bottom MLP
    ]


def schedule(rng: random.Random, calls: list[Call]) -> list[list[tuple[int, int]]]:
    """(start, duration) of every kernel of every rank: all end together, when the slowest has joined."""
    clock = [STEP_START] * RANKS
    kernels: list[list[tuple[int, int]]] = [[] for _ in range(RANKS)]
    for _, elements, splits, compute in calls:
        starts = [t + int(compute * rng.uniform(0.9, 1.1)) + 1 for t in clock]
        busiest = max(map(sum, splits)) if splits else elements
        end = max(starts) + 20 + int(busiest * FLOAT / FABRIC)
        for rank, start in enumerate(starts):
            kernels[rank].append((start, end - start))
        clock = [end] * RANKS
    return kernels


def node(name: str, number: int, inputs: list[object], outputs: list[object]) -> Node:
    return {"name": name, "id": number, "rf_id": number - 1, "parent": number + 1, "fw_parent": 0, "seq_id": -1,
            "scope": 0, "tid": 1, "fw_tid": 0, "op_schema": "", "inputs": inputs, "outputs": outputs}


def execution_trace(rank: int, calls: list[Call]) -> list[Node]:
    """Header and nodes of one rank: nccl:, record_param_comms and a wait for each collective."""
    rows: list[Node] = [{"schema": "1.0.1", "pid": 4000 + rank, "time": "2025-01-01 12:00:00"}]
    for k, (op, elements, splits, _) in enumerate(calls):
        send = splits[rank] if splits else []
        receive = [row[rank] for row in splits]
        given, got = (sum(send), sum(receive)) if splits else (elements, elements)
        tensor: list[object] = [10 * k + 1, 10 * k + 2, 0, given, FLOAT, f"cuda:{rank}"]
        output: list[object] = [10 * k + 3, 10 * k + 4, 0, got, FLOAT, f"cuda:{rank}"]
        view = "nccl:all_reduce" if op == "allreduce" else "nccl:all_to_all"
        handed: list[object] = [tensor] if op == "allreduce" else tensor
        rows += [
            node(view, 100 + 10 * k, [tensor], []),
            node("record_param_comms", 101 + 10 * k, [handed, 1 + k, 7_000 + rank, rank, op, send, receive], [output]),
            node("record_param_comms", 105 + 10 * k, [1 + k, 0, rank, "wait", [], []], []),
        ]
    return rows


def profile(rank: int, calls: list[Call], kernels: list[tuple[int, int]]) -> list[Node]:
    """Header, step and kernels of one rank."""
    names = {"allreduce": "ncclKernel_AllReduce_RING_LL_Sum_float(ncclWork*)"}
    other = "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclWork*)"
    tail = 20_000
    step = kernels[-1][0] + kernels[-1][1] + tail - STEP_START
    return [
        {"schemaVersion": 1, "distributedInfo": {"backend": "nccl", "rank": rank, "world_size": RANKS}},
        {"ph": "X", "cat": "user_annotation", "name": "ProfilerStep#1", "ts": STEP_START, "dur": step},
        *({"ph": "X", "cat": "kernel", "name": names.get(op, other), "pid": rank, "tid": 7, "ts": start, "dur": length}
          for (op, *_), (start, length) in zip(calls, kernels, strict=True)),
    ]


# --- requests -------------------------------------------------------------------------------------


def write_requests(path: Path, rng: random.Random) -> None:
    """150 rows: 110 of a Poisson process with a hole in it, 40 in a burst."""
    steady = [0.0]
    while len(steady) < 110:
        t = rng.uniform(0.0, 30.0)
        if not SILENCE[0] <= t < SILENCE[1]:
            steady.append(t)
    burst = [BURST + rng.uniform(0.0, BURST_LENGTH) for _ in range(40)]
    first = datetime(2025, 1, 1, 12, 0, 0)
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for t in sorted(steady + burst):
        stamp = first + timedelta(seconds=t)
        prompt, answer = tokens(rng, 450, 0.5, 4_000), tokens(rng, 150, 0.5, 1_000)
        lines.append(f"{stamp:%Y-%m-%d %H:%M:%S.%f}0,{prompt},{answer}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_blocks(path: Path, rng: random.Random) -> None:
    """90 rows with ids of blocks: documents that are shared, earlier prompts that grow."""
    documents = [[1 + 10 * d + k for k in range(rng.randint(1, 4))] for d in range(6)]
    fresh = 100
    prompts: list[list[int]] = []
    rows: list[Node] = []
    for t in sorted(rng.uniform(0.0, 45.0) for _ in range(90)):
        if prompts and rng.random() < 1 / 3:
            begin = rng.choice(prompts)[:10]
        else:
            begin = [0, *(rng.choice(documents) if rng.random() < 2 / 3 else [])]
        more = rng.randint(1, 3)
        blocks = [*begin, *range(fresh, fresh + more)][:12]
        fresh += more
        prompts.append(blocks)
        rows.append({"timestamp": int(t / 3) * 3000, "input_length": 512 * len(blocks) - rng.randint(0, 511),
                     "output_length": tokens(rng, 60, 0.5, 300), "hash_ids": blocks})
    write_rows(path, rows)


def tokens(rng: random.Random, median: float, spread: float, most: int) -> int:
    """A log-normal number of tokens, at least 1."""
    return max(1, min(most, round(rng.lognormvariate(0.0, spread) * median)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
