"""Continuous batching: what a replica computes in its next step, and what that step has made.

    waiting --admitted: its whole prompt's KV fits--> running: prefill in chunks, then a token a step --> over
       ^                                                 |
       └──────── preempted: KV memory is full ───────────┘      its KV is dropped and computed again

A step decodes one token of every context whose prefill is over, and fills what is left of `chunk` tokens
with prompts, oldest first (chunked prefill as in Sarathi-Serve, Agrawal et al., OSDI 2024; admission and
preemption by recomputation as in vLLM). A prompt's last chunk gives its first token. When a token finds no
KV memory, the context that was admitted last goes back to the head of the queue. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from traffic.inference.gpu import Chunk


class Sequence:
    """One request on a replica, in tokens.

    input    tokens that it came with         prompt   to compute before the next token: after a preemption
             with the tokens that were generated
    done     of it computed or found in the cache      generated, target   tokens out, and how many there will be
    kv       tokens whose KV memory it holds      preempted   how often
    expected tokens of its prompt that the cache had when it came; what it finds is asked when it is admitted
    """

    __slots__ = ("done", "expected", "generated", "input", "kv", "preempted", "prompt", "request", "target")

    def __init__(self, request: int, prompt: int, target: int) -> None:
        self.request, self.input, self.prompt, self.target = request, prompt, prompt, target
        self.done = self.generated = self.kv = self.preempted = self.expected = 0

    @property
    def in_prefill(self) -> bool:
        return self.done < self.prompt


@dataclass(frozen=True, slots=True)
class Step:
    """What is computed at once: sequences that decode, and (sequence, tokens of its prompt) that prefill."""

    decode: tuple[Sequence, ...]
    prefill: tuple[tuple[Sequence, int], ...]

    @property
    def chunks(self) -> list[Chunk]:
        """For the roofline: a decoded token attends to all that its context holds."""
        return [*(Chunk(1, s.kv - 1) for s in self.decode), *(Chunk(n, s.done) for s, n in self.prefill)]


class Batch:
    """The queue and the running batch of one replica.

    limits: `size` running sequences, `chunk` tokens a step, `memory` tokens of KV.
    found(sequence): how many leading tokens of its prompt need no computing, asked once when it is first admitted.
    """

    def __init__(self, size: int, chunk: int, memory: int, found: Callable[[Sequence], int] = lambda _: 0) -> None:
        self._size, self._chunk, self._memory, self._found = size, chunk, memory, found
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.held = 0           # tokens of KV memory in use
        self.preemptions = 0

    @property
    def sequences(self) -> int:
        """That wait or run."""
        return len(self.waiting) + len(self.running)

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def drop(self, sequence: Sequence) -> None:
        """It was cancelled."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._release(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.held -= sequence.kv
        sequence.kv = 0

    def next_step(self) -> Step | None:
        """What to compute now; None when there is nothing."""
        self._make_room()
        while self.waiting and not self.waiting[0].in_prefill and self._admits(self.waiting[0], 1):
            self._admit()       # its KV cache was computed elsewhere
        decode = [s for s in self.running if not s.in_prefill]
        for s in decode:
            s.kv += 1
        self.held += len(decode)
        prefill = self._prefill(max(self._chunk - len(decode), 0))
        return Step(tuple(decode), tuple(prefill)) if decode or prefill else None

    def _make_room(self) -> None:
        """Preempt the youngest until every decoding context can have one token more; one context always fits."""
        while self.held + sum(not s.in_prefill for s in self.running) > self._memory and len(self.running) > 1:
            victim = self.running.pop()
            self._release(victim)
            victim.prompt, victim.done = victim.input + victim.generated, 0
            victim.preempted += 1
            self.waiting.appendleft(victim)
            self.preemptions += 1

    def _prefill(self, budget: int) -> list[tuple[Sequence, int]]:
        """Tokens of prompts that `budget` allows, of the running first, then of whom the queue admits."""
        found: list[tuple[Sequence, int]] = []
        for s in self.running:
            if s.in_prefill and budget > 0:
                budget -= self._take(s, budget, found)
        while budget > 0 and self.waiting and self.waiting[0].in_prefill and self._admits(self.waiting[0]):
            s = self._admit()
            if not s.preempted:
                s.done = min(self._found(s), s.prompt - 1)      # the last token is computed, for the next one
            budget -= self._take(s, budget, found)
        return found

    def _admits(self, sequence: Sequence, more: int = 0) -> bool:
        """Whether it finds a place and memory, with `more` tokens for each that decodes."""
        decoding = sum(not s.in_prefill for s in self.running) + 1
        return len(self.running) < self._size and self.held + sequence.prompt + more * decoding <= self._memory

    def _admit(self) -> Sequence:
        sequence = self.waiting.popleft()
        sequence.kv = sequence.prompt
        self.held += sequence.kv
        self.running.append(sequence)
        return sequence

    @staticmethod
    def _take(s: Sequence, budget: int, found: list[tuple[Sequence, int]]) -> int:
        n = min(s.prompt - s.done, budget)
        found.append((s, n))
        return n

    def finish(self, step: Step) -> list[Sequence]:
        """The step is over: the sequences that have one token more. Those with all of theirs leave the batch.

        What was dropped while the step ran has no token.
        """
        running = set(map(id, self.running))
        for s, n in step.prefill:
            if id(s) in running:
                s.done += n
        ready = [*step.decode, *(s for s, _ in step.prefill if not s.in_prefill)]
        made = [s for s in ready if id(s) in running]
        for s in made:
            s.generated += 1
            if s.generated >= s.target:
                self.drop(s)
        return made

    @property
    def prefill_left(self) -> int:
        """Tokens of prompts that are yet to be computed; of waiting ones those that the cache is expected to lack."""
        waiting = sum(s.prompt - max(s.done, 0 if s.preempted else s.expected) for s in self.waiting)
        return waiting + sum(s.prompt - s.done for s in self.running)

    @property
    def waiting_tokens(self) -> int:
        """Tokens of the contexts that are not admitted yet."""
        return sum(s.prompt for s in self.waiting)
