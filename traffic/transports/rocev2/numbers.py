"""From the 24-bit PSNs of a capture to numbers that count on, and from ACKs and responses to the requests they answer.

A packet names the queue pair of its receiver only. Which requests a response, an ACK or a NAK answers is found by
its PSN, as that is the request's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from traffic.transports.rocev2.gobackn import nearest
from traffic.transports.rocev2.opcodes import MEANINGS, Meaning, Role, Syndrome
from traffic.transports.rocev2.sightings import MTUS, Packets, PairKey, Sightings, Way
from traffic.transports.rocev2.spans import Spans

LONGEST_MESSAGE = 2**31         # bytes
IMMEDIATE = 8                   # more bytes than a packet has beside payload and the headers that are known here
SAMPLES = 64                    # PSNs that are looked at to find out what they answer
MOST_CANDIDATES = 256          # queue pairs between two hosts; of more, nobody finds out whose an ACK is
Hosts = tuple[frozenset[str], str]


@dataclass
class Row:
    """Packets of one row of PSNs. numbers: 0 for the first PSN that was captured, whatever it was.

    spans: PSNs that each takes; spans_known: but for READs whose MTU the capture does not show. naks: (time, number)
    that were asked for. asked: numbers that captured requests ask responses for, from asked_from on. edges: (first,
    last) of its message, for each packet.
    """

    packets: Packets
    first: int = 0
    lowest: int = 0
    highest: int = 0            # the last PSN that is taken
    numbers: list[int] = field(default_factory=list)
    spans: list[int] = field(default_factory=list)
    spans_known: bool = True
    naks: list[tuple[int, int]] = field(default_factory=list)
    asked: Spans | None = None
    asked_from: int = 0

    @property
    def edges(self) -> list[tuple[bool, bool]]:
        return [(m.first, m.last) for m in map(_meaning, self.packets.opcodes)]

    def number(self, psn: int) -> int | None:
        """Of a PSN that is in this row or follows it."""
        n = nearest(psn, self.first, self.highest)
        return n if self.lowest <= n <= self.highest + 1 else None


def _meaning(opcode: int) -> Meaning:
    """Of an opcode that is in a row."""
    meaning = MEANINGS[opcode]
    if isinstance(meaning, str):
        raise TypeError(f"opcode {opcode:#x} is in no row: {meaning}")
    return meaning


def rows(seen: Sightings) -> dict[PairKey, Row]:
    """Every row of PSNs of a capture, numbered and with what answers it."""
    between: defaultdict[Hosts, Sizes] = defaultdict(Sizes)
    for key, packets in seen.pairs.items():
        between[_hosts(key.way)].note(packets)
    found = {key: _row(packets, between[_hosts(key.way)]) for key, packets in seen.pairs.items()}
    requests: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for key, row in found.items():
        if key.carries is Role.REQUEST and row.numbers:
            requests[key.way.src, key.way.dst, key.way.place].append(row)
    responses = {key.way: row for key, row in found.items() if key.carries is Role.RESPONSE and row.numbers}
    for way in dict.fromkeys([*seen.answers, *responses]):
        _answer(way, seen, responses.get(way), requests.get((way.dst, way.src, way.place), []))
    return found


def _hosts(way: Way) -> Hosts:
    return frozenset((way.src, way.dst)), way.place


@dataclass
class Sizes:
    """Payloads of the packets between two hosts, both ways: full ones, which have the MTU, and the largest."""

    full: set[int] = field(default_factory=set)
    largest: int = 0

    def note(self, packets: Packets) -> None:
        self.full |= packets.full.intersection(MTUS)
        self.largest = max(self.largest, packets.largest)

    def span(self, length: int, own: set[int]) -> int | None:
        """Response packets of a READ of `length` bytes. None if the capture does not show what MTU it has.

        own: full payloads of its queue pair. Else its MTU is the only one that the two hosts use, or so large that
        one packet is enough.
        """
        if length > LONGEST_MESSAGE:
            return None
        for full in (own.intersection(MTUS), self.full):
            if len(full) == 1:
                return max(-(-length // next(iter(full))), 1)
        fits = min((mtu for mtu in MTUS if mtu >= self.largest - IMMEDIATE), default=MTUS[-1])
        return 1 if length <= fits and not self.full else None


def _row(packets: Packets, between: Sizes) -> Row:
    row = Row(packets)
    if not packets.psns:
        return row
    row.first = packets.psns[0]
    row.highest = -1
    for psn, length in zip(packets.psns, packets.lengths, strict=True):
        number, span = nearest(psn, row.first, max(row.highest, 0)), 1
        if length > MTUS[0]:
            known = between.span(length, packets.full)
            row.spans_known &= known is not None
            span = known or 1
        row.numbers.append(number)
        row.spans.append(span)
        row.lowest = min(row.lowest, number)
        row.highest = max(row.highest, number + span - 1)
    return row


def _answer(way: Way, seen: Sightings, responses: Row | None, requests: Sequence[Row]) -> None:
    """Give what went this way to the requests that it answers, if these were captured."""
    answers = seen.answers[way].psns if way in seen.answers else []
    samples = [psn for _, psn, _ in answers[::max(len(answers) // SAMPLES, 1)]]
    if responses is not None:
        samples += responses.packets.psns[::max(len(responses.numbers) // SAMPLES, 1)]
    row = _answered(samples, requests)
    if row is None:
        return
    for stamp, psn, kind in answers:
        number = row.number(psn)
        if kind is Syndrome.SEQUENCE and number is not None:
            row.naks.append((stamp, number))
    if responses is not None and row.spans_known:
        _ask(responses, row)


def _answered(samples: Sequence[int], requests: Sequence[Row]) -> Row | None:
    """The row that has most of these PSNs, if one has more than all others."""
    if len(requests) > MOST_CANDIDATES:
        return None
    votes = sorted(((sum(row.number(psn) is not None for psn in samples), k) for k, row in enumerate(requests)),
                   reverse=True)
    if not votes or not votes[0][0] or (len(votes) > 1 and votes[0][0] == votes[1][0]):
        return None
    return requests[votes[0][1]]


def _ask(responses: Row, requests: Row) -> None:
    """What these requests ask responses for, in the numbers of the responses."""
    shift = nearest(requests.first, responses.first, (responses.lowest + responses.highest) // 2)
    runs = [(n + shift, n + shift + span) for n, span, opcode in zip(
        requests.numbers, requests.spans, requests.packets.opcodes, strict=True) if _meaning(opcode).answered]
    if runs:
        responses.asked, responses.asked_from = Spans(runs), requests.lowest + shift
