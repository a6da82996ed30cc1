"""Queue disciplines: one class a kind for what a user writes, and one for what a link has in emulated units.

A new kind is a pair of them and a line in QUEUES here; how wires do it is a class in topologies.links.htb.disciplines.

    fifo        drops from the tail
    red         drops by chance between two averaged lengths, with ecn it marks instead (Floyd and Jacobson 1993); with
                min = max it marks above that length, as DCTCP wants it (Alizadeh et al., SIGCOMM 2010)
    fq_codel    a queue for each flow, by how long packets stay (RFC 8290)
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from topologies.model.fields import Size, Strict
from topologies.model.scale import Scale
from topologies.model.units import parse_size

_FORMS = "a queue in bytes or packets, such as 60kB or 40packets"


class Discipline(BaseModel):
    """When a queue of a link drops or marks; sizes in emulated bytes.

    resizable: whether its length changes while packets wait, and none of them is thrown away
    """

    model_config = ConfigDict(frozen=True)
    resizable: ClassVar[bool] = False
    kind: str


class Fifo(Discipline):
    resizable = True
    kind: Literal["fifo"] = "fifo"


class Red(Discipline):
    kind: Literal["red"] = "red"
    min: int
    max: int
    ecn: bool = False


class FqCodel(Discipline):
    kind: Literal["fq_codel"] = "fq_codel"
    ecn: bool = False


class QueueSpec(Strict):
    """A queue: its length in bytes or in full frames (exactly one of the two), and what its kind asks for."""

    bytes: Annotated[int, BeforeValidator(lambda v: parse_size(v) if isinstance(v, str) else v)] | None = Field(
        None, gt=0)
    packets: int | None = Field(None, gt=0)
    kind: str

    @model_validator(mode="after")
    def _one_of_two(self) -> QueueSpec:
        if (self.bytes is None) == (self.packets is None):
            raise ValueError(_FORMS)
        return self

    @abstractmethod
    def discipline(self, scale: Scale) -> Discipline:
        """What a link has of it."""


class FifoQueue(QueueSpec):
    kind: Literal["fifo"] = "fifo"

    def discipline(self, scale: Scale) -> Fifo:
        return Fifo()


class RedQueue(QueueSpec):
    kind: Literal["red"] = "red"
    min: Size = Field(gt=0, description="below this length nothing is dropped or marked")
    max: Size = Field(gt=0, description="above this length everything is")
    ecn: bool = Field(False, description="mark what can be marked, instead of dropping it")

    @model_validator(mode="after")
    def _in_order(self) -> RedQueue:
        if self.min > self.max:
            raise ValueError("min and max with kind: red, min not above max")
        return self

    def discipline(self, scale: Scale) -> Red:
        return Red(min=round(scale.to_emulated_size(self.min)), max=round(scale.to_emulated_size(self.max)),
                   ecn=self.ecn)


class FqCodelQueue(QueueSpec):
    kind: Literal["fq_codel"] = "fq_codel"
    ecn: bool = Field(False, description="mark what can be marked, instead of dropping it")

    def discipline(self, scale: Scale) -> FqCodel:
        return FqCodel(ecn=self.ecn)


QUEUES: list[tuple[type[QueueSpec], type[Discipline]]] = [(FifoQueue, Fifo), (RedQueue, Red), (FqCodelQueue, FqCodel)]


def _with_kind(value: object) -> object:
    """The short forms as mappings, and fifo where no kind is named."""
    if isinstance(value, dict):
        return {"kind": FifoQueue.model_fields["kind"].default, **value}
    if isinstance(value, QueueSpec):
        return value
    text = value.strip() if isinstance(value, str) else ""
    for word in ("packets", "packet"):
        if text.endswith(word):
            number = text[: -len(word)].strip()
            if not number.isdigit() or int(number) == 0:
                raise ValueError(_FORMS)
            return {"kind": "fifo", "packets": int(number)}
    try:
        return {"kind": "fifo", "bytes": parse_size(text)}
    except ValueError:
        raise ValueError(_FORMS) from None


class _ShortForms:
    """The JSON schema of a queue: a text, or one of the kinds."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        return {"anyOf": [{"type": "string", "examples": ["60kB", "40packets"]}, handler(schema)]}


def any_queue() -> object:
    """The type of a queue of any kind, for pydantic: a union that `kind` tells apart."""
    kinds: object = Union[tuple(spec for spec, _ in QUEUES)]       # noqa: UP007 - made at run time
    return Annotated[kinds, Field(discriminator="kind"), BeforeValidator(_with_kind), _ShortForms()]


def any_discipline() -> object:
    """The type of a link's discipline of any kind, for pydantic."""
    return Annotated[Union[tuple(made for _, made in QUEUES)], Field(discriminator="kind")]      # noqa: UP007


if TYPE_CHECKING:
    Queue = QueueSpec
    AnyDiscipline = Discipline
else:
    Queue, AnyDiscipline = any_queue(), any_discipline()
