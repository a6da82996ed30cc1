"""What a user writes about agents: how their tasks are drawn, and the tools that they call."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from topologies.model.fields import Share, Size, Strict, Time

MOST = {"steps": 64, "fan_out": 16}


class ToolSpec(Strict):
    """A tool's servers, what a call puts on the wire, how long it takes. On outside hosts it is an external service."""

    hosts: tuple[str, ...] = Field(min_length=1, description="its servers, which take calls in turn")
    request: Size = Field(2_000, gt=0, description="of a call")
    response: Size = Field(20_000, gt=0, description="median of an answer")
    tokens: int = Field(300, ge=1, le=10_000_000, description="median of what an answer adds to the context")
    service: Time = Field(0.2, ge=0, description="median of the server's time for a call")
    weight: float = Field(1.0, gt=0, description="how often it is called, against the other tools")


class AgentSpec(Strict):
    """Each request is a task of an agent: a drawn tree of model calls, tool calls and sub-agents.

    An agent takes `steps`; each is a model call with all of its context so far, and all but the last one ask for
    `fan_out` calls at the same time, whose results join the context.
    """

    hosts: tuple[str, ...] = Field(min_length=1, description="where the agents' programs run, tasks in turn")
    tools: dict[str, ToolSpec] = Field(min_length=1)
    steps: tuple[int, int] = Field((2, 5), description="[from, to] model calls of an agent, uniform")
    fan_out: tuple[int, int] = Field((1, 2), description="[from, to] calls that a step asks for, uniform")
    depth: int = Field(0, ge=0, le=4, description="levels of sub-agents")
    delegate: Share = Field(0.3, description="chance of a call to be a sub-agent, above the last level")
    system_tokens: int = Field(1000, ge=0, le=10_000_000, description="at the head of every context, the same for all")
    timeout: Time = Field(300.0, gt=0, description="of a task")
    tool_timeout: Time = Field(10.0, gt=0, description="of one try of a tool call")
    tool_retries: int = Field(0, ge=0, le=10, description="of a tool call, each at the tool's next server")

    @field_validator("steps", "fan_out")
    @classmethod
    def _range(cls, value: tuple[int, int], info: ValidationInfo) -> tuple[int, int]:
        most = MOST[str(info.field_name)]
        if not 1 <= value[0] <= value[1] <= most:
            raise ValueError(f"[from, to] with 1 <= from <= to <= {most}")
        return value

    @property
    def servers(self) -> tuple[str, ...]:
        """Hosts of all tools, each once."""
        return tuple(dict.fromkeys(h for tool in self.tools.values() for h in tool.hosts))
