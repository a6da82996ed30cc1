"""Tasks of agents: what a user asks once becomes a tree of calls, a pure function of spec and seed.

    user ─> agent: model ┬─> tool ──────┬─> model ┬─> external ─┬─> model ─> user
                         ├─> tool ──────┤         └─> tool ─────┘
                         └─> sub-agent ─┘     (its own model and tool calls, its own context)

A step is a model call; its prompt is all of the agent's context so far. Its answer asks for calls at the same
time; when the last of them has ended, and after a pause, the next step begins, with the answer and the
results in the context. The answer of the last step goes to who asked. Every context begins with the same
system prompt, so that agents share its blocks.

Drawn for each task by its own generator (seed, number of the task), with m a key of the spec:
    steps, calls of a step    uniform on [from, to]          a call's tool     in proportion to the weights
    sub-agent                 with the chance `delegate`     pauses            exponential of mean m
    tokens, response, service log-normal of median m and sigma `variation`; a tool's response and its tokens
                              have the same factor: what is long on the wire is long in the context
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from topologies.model.errors import SpecError
from topologies.model.scale import Scale
from traffic.inference.requests import SESSION_BLOCKS, Request, prompt_bytes
from traffic.workloads.agent_specs import AgentSpec
from traffic.workloads.arrivals import arrivals
from traffic.workloads.extent import MAX_BLOCKS, MAX_REQUESTS
from traffic.workloads.specs import ServingSpec

MOST_CALLS = 1000       # of a task; more is a mistake in the spec


class Call(BaseModel):
    """One call of a task; sizes and times are emulated. A model call is the Request with its id.

    kind     model | tool | external       after    calls that have to end first; () for the task's first
    pause    seconds between the end of the last of these and the call
    servers  of the tool, in the order in which they are tried
    ask, answer   bytes there and back     service  seconds that the server takes
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: int
    kind: str
    after: tuple[int, ...] = ()
    pause: float = 0.0
    tool: str = ""
    servers: tuple[str, ...] = ()
    ask: int = 0
    answer: int = 0
    service: float = 0.0


class Task(BaseModel):
    """What a user asks an agent; `at` in emulated seconds after the start, ask and answer in emulated bytes.

    calls: each after those that it waits for; the last one's answer is the task's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: int
    at: float
    user: str
    agent: str
    ask: int
    answer: int
    calls: tuple[Call, ...]


def tasks_of(spec: ServingSpec, users: tuple[str, ...], outside: frozenset[str], scale: Scale, seed: int,
             where: str) -> tuple[list[Task], list[Request]]:
    """All tasks of a workload, and the requests that their model calls are. outside: hosts behind the border leaf.

    Raises SpecError for a task of more than 1,000 calls.
    """
    if spec.agent is None:
        return [], []
    starts = arrivals(spec.process, spec.rate or 1.0, spec.requests, seed, spec.shape)
    drawing = _Drawing(spec, spec.agent, outside, scale, where)
    tasks = [drawing.task(n, scale.to_emulated_time(float(at)), users[n % len(users)], seed)
             for n, at in enumerate(starts)]
    return tasks, drawing.requests


class _Drawing:
    """Draws one task after the other; calls and contexts are numbered over all of them."""

    def __init__(self, spec: ServingSpec, agent: AgentSpec, outside: frozenset[str], scale: Scale, where: str) -> None:
        self._spec, self._agent, self._outside, self._scale, self._where = spec, agent, outside, scale, where
        self._shared = agent.system_tokens // spec.block     # blocks that every context begins with
        weights = np.array([tool.weight for tool in agent.tools.values()])
        self._shares = weights / weights.sum()
        self._contexts = self._next = self._held = 0
        self.requests: list[Request] = []
        self._calls: list[Call] = []

    def task(self, number: int, at: float, user: str, seed: int) -> Task:
        """The task with this number; its draws depend on nothing else."""
        self._rng = np.random.default_rng([seed, 2, number])
        self._calls, self._number = [], number
        self._host = self._agent.hosts[number % len(self._agent.hosts)]
        asked = self._tokens(self._spec.input_tokens)
        _, answered = self._loop(0, asked, ())
        return Task(id=number, at=at, user=user, agent=self._host, ask=prompt_bytes(self._spec, self._scale, asked),
                    answer=self._bytes(answered * self._spec.bytes_per_output_token), calls=tuple(self._calls))

    def _loop(self, level: int, asked: int, after: tuple[int, ...]) -> tuple[int, int]:
        """An agent from what it is asked to its answer: (id of its last call, tokens of the answer)."""
        owner, context = self._contexts, self._agent.system_tokens + asked
        self._contexts += 1
        steps = self._uniform(self._agent.steps)
        for step in range(steps):
            pause = float(self._rng.exponential(self._spec.think)) if step else 0.0
            made = self._tokens(self._spec.output_tokens)
            call = self._model(owner, context, made, after, pause)
            context += made
            if step < steps - 1:
                asks = [self._ask(level, call) for _ in range(self._uniform(self._agent.fan_out))]
                after, context = tuple(last for last, _ in asks), context + sum(tokens for _, tokens in asks)
        return call, made

    def _ask(self, level: int, caller: int) -> tuple[int, int]:
        """One of the calls of a step: (id of the last call of it, tokens of its result)."""
        if level < self._agent.depth and self._rng.random() < self._agent.delegate:
            return self._loop(level + 1, self._tokens(self._spec.input_tokens), (caller,))
        return self._tool((caller,))

    def _model(self, owner: int, prompt: int, made: int, after: tuple[int, ...], pause: float) -> int:
        call = self._add("model", after=after, pause=self._scale.to_emulated_time(pause))
        self._held += (prompt + made) // self._spec.block
        if self._held > MAX_BLOCKS or len(self.requests) >= MAX_REQUESTS:
            raise SpecError(f"{self._where}.agent", f"at most {MAX_REQUESTS:,} model calls and {MAX_BLOCKS:,} blocks "
                            "of their prompts", f"more in the first {self._number + 1:,} tasks",
                            "fewer tasks (requests), or a larger block")
        self.requests.append(Request(
            id=call.id, at=0.0, input=prompt, output=made, size=prompt_bytes(self._spec, self._scale, prompt),
            client=self._host, session=f"a{owner}", blocks=self._blocks(owner, prompt),
            kept=self._blocks(owner, prompt + made), task=self._number))
        return call.id

    def _tool(self, after: tuple[int, ...]) -> tuple[int, int]:
        name = list(self._agent.tools)[int(self._rng.choice(len(self._shares), p=self._shares))]
        tool = self._agent.tools[name]
        first, length, slowness = int(self._rng.integers(len(tool.hosts))), self._factor(), self._factor()
        call = self._add(
            "external" if set(tool.hosts) <= self._outside else "tool", after=after, tool=name,
            servers=tool.hosts[first:] + tool.hosts[:first], ask=self._bytes(tool.request),
            answer=self._bytes(tool.response * length), service=self._scale.to_emulated_time(tool.service * slowness))
        return call.id, max(1, round(tool.tokens * length))

    def _add(self, kind: str, **keys: object) -> Call:
        if len(self._calls) >= MOST_CALLS:
            raise SpecError(f"{self._where}.agent", f"tasks of at most {MOST_CALLS:,} calls",
                            f"task {self._number} with more", "fewer steps, a smaller fan_out, depth or delegate")
        call = Call.model_validate({"id": self._next, "kind": kind, **keys})
        self._next += 1
        self._calls.append(call)
        return call

    def _blocks(self, owner: int, tokens: int) -> tuple[int, ...]:
        """Ids of the whole blocks of a context; those of the system prompt are everybody's."""
        return tuple(k if k < self._shared else (owner + 1) * SESSION_BLOCKS + k
                     for k in range(tokens // self._spec.block))

    def _uniform(self, limits: tuple[int, int]) -> int:
        return int(self._rng.integers(limits[0], limits[1], endpoint=True))

    def _factor(self) -> float:
        return float(self._rng.lognormal(0.0, self._spec.variation))

    def _tokens(self, median: int) -> int:
        return max(1, round(median * self._factor()))

    def _bytes(self, real: float) -> int:
        return max(round(self._scale.to_emulated_size(real)), 1)
