"""Which file of a directory is whose: execution traces and Kineto profiles of PyTorch, one a rank.

Nobody names them alike (et_rank0.json, dlrm_eg_0.json, worker0.169.pt.trace.json, host_123.456.pt.trace.json.gz), so
what a file is stands in it, and its rank in distributedInfo of a profile; else in its name, as the number
after "rank" or "worker", or as the number by which the names differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topologies.model.errors import TraceError

_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_NAMED = re.compile(r"(?:rank|worker)[-_. ]?(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")


def trace_files(directory: Path) -> list[Path]:
    """The JSON files of a directory, by name. Raises TraceError where there are none."""
    if not directory.is_dir():
        raise TraceError(str(directory), "a directory of execution traces and Kineto profiles, one of each a rank",
                         "a file" if directory.exists() else "no such directory")
    found = sorted(p for p in directory.iterdir() if p.name.endswith(_SUFFIXES))
    if not found:
        raise TraceError(str(directory), f"files {', '.join('*' + s for s in _SUFFIXES)}", "none of them")
    return found


@dataclass(frozen=True, slots=True)
class Ranked:
    """The files of one kind by rank; `template` is a name with {} for the rank, "" where names do not say it."""

    kind: str
    paths: dict[int, Path]
    template: str

    def name(self, rank: int) -> str:
        return self.template.format(rank) if self.template else f"{self.kind} of rank {rank}"


def by_rank(directory: Path, kind: str, files: Sequence[Path], said: Mapping[Path, int]) -> Ranked:
    """The rank of each file: what it says itself, else its name. Raises TraceError where that is not one each."""
    spans = _spans([p.name for p in files])
    ranks = {p: said.get(p, int(p.name[slice(*spans[p.name])]) if spans else -1) for p in files}
    template = ""
    if spans and files:
        start, end = spans[files[0].name]
        template = f"{_plain(files[0].name[:start])}{{}}{_plain(files[0].name[end:])}"
    unnamed = [p for p, rank in ranks.items() if rank < 0]
    if unnamed:
        raise TraceError(str(directory), f"names of the {kind}s that say each one's rank, such as et_rank0.json",
                         ", ".join(p.name for p in unnamed[:4]))
    twice = next((p for p in files if list(ranks.values()).count(ranks[p]) > 1), None)
    if twice is not None:
        for p in files if spans else ():
            called = int(p.name[slice(*spans[p.name])])
            if said.get(p, called) != called:
                raise TraceError(str(p), f"rank {called} of {len(files)}, as the files say", f"rank {said[p]}",
                                 "files of ranks are mixed up")
        same = [p.name for p in files if ranks[p] == ranks[twice]]
        raise TraceError(str(directory), f"one {kind} a rank", f"{' and '.join(same[:3])} of rank {ranks[twice]}",
                         "keep one of them: a directory holds one recording")
    return Ranked(kind, {rank: p for p, rank in sorted(ranks.items(), key=lambda item: item[1])}, template)


def all_ranks(directory: Path, kinds: Sequence[Ranked]) -> range:
    """Ranks 0 .. n-1 of every kind that has files. Raises TraceError naming the files that are missing."""
    used = [k for k in kinds if k.paths]
    last = max(max(k.paths) for k in used)
    total = sum(len(k.paths) for k in used)
    ranks = range(min(last + 1, 2 * total))      # a rank out of all proportion is no reason to list a million files
    missing = [k.name(r) for r in ranks for k in used if r not in k.paths]
    if missing:
        raise TraceError(str(directory), f"a file of each kind for each of ranks 0 to {last}",
                         f"no {', '.join(missing[:4])}", "a step can only be replayed with all of its ranks")
    if last < 1:
        raise TraceError(str(directory), "at least two ranks", "one rank")
    return ranks


def _plain(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _spans(names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Where each name has its rank; nothing where that cannot be said of all of them."""
    named = {name: m.span(1) for name in names if (m := _NAMED.search(name))}
    if len(named) == len(names):
        return named
    numbers = {name: list(_NUMBER.finditer(name)) for name in names}
    count = {len(found) for found in numbers.values()}
    for k in range(count.pop() if len(count) == 1 else 0):
        if {int(found[k][0]) for found in numbers.values()} == set(range(len(names))):
            return {name: found[k].span() for name, found in numbers.items()}
    return {}
