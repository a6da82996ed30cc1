"""What owns the switches and links of a lab: a datapath. The rest of the code asks one, and knows none.

    requirements, modules, refused     before anything is made
    lay, start                         a fabric comes to life; its journal takes it down
    attend, ended                      what belongs to a running lab, and whether it still runs
    kill, start_again, pid_of          one switch dies, and comes again
    set_rate, set_queue, set_state,    while it carries traffic
    shares, set_shares
    devices, queues, losses, walk      packet accounting
    sampling, sent_bytes               bytes, drops and what waits, many times a second
    audit, feeder, sent, waiting,      proof that links are what the spec says, and that it kept up
    crossing_time, lateness
    capture_command                    to look into a link
    title, cannot_show, remarks        for reports

A new one is a folder with a subclass and a line in topologies/switches/datapaths.py; what its running switches answer
beside OpenFlow is a Management and a line in topologies/switches/managements.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from topologies.lab.journal import Journal
from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric, Link
from topologies.model.histogram import Histogram
from topologies.model.inventory import Inventory, SwitchProcess, WireDevices
from topologies.model.spec import ClassSpec
from topologies.proof.findings import Declared, Finding
from topologies.proof.ledger import Accounting, QueueCount


@dataclass(frozen=True)
class Requirements:
    """What a datapath needs of the machine.

    programs    name -> package                     versions    what a run notes: name -> command that says it
    modules     kernel module -> what it is for     optional    likewise, where only some fabrics need it
    settings    sysctl -> value, for all labs       parameters  file below /sys/module -> value, where it exists
    devices     special file -> what to do where it cannot be opened
    """

    programs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)


class Need(NamedTuple):
    """A kernel module that a fabric asks for: by which key ('link h1-leaf1: delay'), and what to do without it."""

    key: str
    module: str
    hint: str


@dataclass(frozen=True)
class Site:
    """Where a lab comes to life: namespaces that exist (node -> name), one for wires if the datapath wants it."""

    fabric: Fabric
    netns: Mapping[str, str]
    wiring: str
    journal: Journal


@dataclass(frozen=True)
class Started:
    """A fabric that has come to life. wires: link -> its devices, where links are made of any."""

    switches: dict[str, SwitchProcess]
    wires: dict[str, WireDevices] = field(default_factory=dict)


@dataclass(frozen=True)
class Direction:
    """One way of a link, 'leaf1->h3', and what holds it up: limit in bytes, rate in bit/s."""

    direction: str
    link: str
    limit: int
    rate: float


class Reading(Protocol):
    """What a direction counts. bytes and packets have left its queues, drops never will; cumulative.

    backlog: bytes that wait now in queues that may use all of the link; limit: bytes of its queue.
    """

    @property
    def bytes(self) -> int: ...
    @property
    def packets(self) -> int: ...
    @property
    def drops(self) -> int: ...
    @property
    def backlog(self) -> int: ...
    @property
    def limit(self) -> int | None: ...


class Sampling(Protocol):
    """The directions of a lab, read many times."""

    @property
    def queues(self) -> Sequence[Direction]: ...

    def read(self) -> Sequence[Reading]:
        """One reading a direction, in order. Raises RunError that names what is gone."""


class Feeder(Protocol):
    """Puts frames into one direction, as its near end would."""

    def send(self) -> None:
        """One frame of the link's largest size. Raises OSError where there is no room for it."""

    def close(self) -> None: ...


class Datapath(ABC):
    """name: as in a spec, and in the inventory. title: a sentence about it. cannot_show: what results do not hold for.
    overrun_at: where `losses` happen. wired: whether its links want a namespace of their own. has_port_devices: whether
    switches' ports are devices of their namespaces, as hosts' are."""

    name: str
    title: str
    cannot_show: tuple[str, ...] = ()
    overrun_at: str = "port sockets"
    wired: bool = False
    has_port_devices: bool = True
    requirements: Requirements

    # ---- before anything is made

    def refused(self, fabric: Fabric) -> Iterator[SpecError]:
        """What a fabric asks for that this datapath does not have on any machine."""
        yield from ()

    def modules(self, fabric: Fabric) -> Iterator[Need]:
        """What a fabric asks of the kernel."""
        yield from ()

    def remarks(self, fabric: Fabric) -> Iterator[str]:
        """What a report says of a fabric on this datapath beside its title, in whole sentences."""
        yield f"Switches and links are {self.title}. What they cannot show: {'; '.join(self.cannot_show)}."

    # ---- life

    @abstractmethod
    def lay(self, site: Site) -> None:
        """Make the hosts' devices, with nothing behind them that has to forward yet. Raises HostError."""

    @abstractmethod
    def start(self, site: Site) -> Started:
        """Links take their rates, switches connect to the controller; what runs is in the journal. Raises HostError."""

    def attend(self, inventory: Inventory) -> None:     # noqa: B027 - most need nothing
        """The inventory is written: what reads it may start. Raises HostError."""

    def ended(self, inventory: Inventory) -> str:
        """A sentence about a process that has ended by itself and has taken the lab with it; '' for none."""
        return ""

    @abstractmethod
    def processes(self, inventory: Inventory) -> dict[str, int]:
        """Name -> pid of what forwards, for those who watch whether it gets the processor."""

    @abstractmethod
    def pid_of(self, inventory: Inventory, switch: str) -> int:
        """The process that is a switch as it is now; 0 if there is none."""

    @abstractmethod
    def kill(self, inventory: Inventory, switch: str) -> None:
        """End a switch at once, with its rules, as at a power failure."""

    @abstractmethod
    def start_again(self, inventory: Inventory, switch: str) -> int:
        """Start a switch that was killed: with its ports, without a rule. Its pid. Raises HostError."""

    # ---- changes under traffic; nothing queued is lost

    @abstractmethod
    def set_rate(self, inventory: Inventory, link: str, rate: float) -> None:
        """bit/s, both directions."""

    @abstractmethod
    def set_queue(self, inventory: Inventory, link: str, size: int) -> None:
        """Bytes, both directions; a host's own queue stays."""

    @abstractmethod
    def set_state(self, inventory: Inventory, link: str, up: bool) -> None:
        """Pull or plug a cable: both ends lose or gain carrier."""

    @abstractmethod
    def shares(self, inventory: Inventory) -> dict[str, ClassSpec]:
        """The lab's classes with the shares that links give them now."""

    @abstractmethod
    def set_shares(self, inventory: Inventory, classes: Mapping[str, ClassSpec]) -> None:
        """New shares of all of the fabric's classes, on every link."""

    # ---- packet accounting

    @abstractmethod
    def devices(self, inventory: Inventory) -> tuple[dict[str, int], dict[str, int]]:
        """Packets received and sent by every device, keyed as topologies.proof.ledger.device_key does."""

    @abstractmethod
    def queues(self, inventory: Inventory) -> dict[str, QueueCount]:
        """Direction -> what its queues count, the sentinel's included."""

    @abstractmethod
    def losses(self, inventory: Inventory, switch: str) -> int:
        """Packets that the emulation itself had no room for since a switch started. Raises HostError."""

    @abstractmethod
    def walk(self, inventory: Inventory, accounting: Accounting) -> None:
        """Compare what each hop took in with what it gave on; accounting.lose() names the place of a difference."""

    # ---- sampling and proof

    @abstractmethod
    def directions(self, inventory: Inventory) -> Sequence[Direction]:
        """Every direction of every link, in the fabric's order."""

    @abstractmethod
    def sampling(self, inventory: Inventory) -> Sampling: ...

    @abstractmethod
    def sent_bytes(self, inventory: Inventory) -> dict[str, int]:
        """Direction -> bytes that have left its queues; a host's own sending may be left out."""

    @abstractmethod
    def audit(self, inventory: Inventory, declared: Declared) -> Iterator[Finding]:
        """Every difference between what runs and what the spec and declared events say."""

    def lateness(self, inventory: Inventory) -> dict[str, Histogram]:
        """What is done in real time ('frames to and from hosts') -> how late, so far; none where nobody counts."""
        return {}

    @abstractmethod
    def feeder(self, inventory: Inventory, direction: Direction, frame: bytes) -> Feeder: ...

    @abstractmethod
    def sent(self, direction: Direction) -> int:
        """Bytes in no class that have left a direction. direction: one of directions()."""

    @abstractmethod
    def waiting(self, directions: Collection[Direction]) -> int:
        """Packets in no class that wait in these directions."""

    @abstractmethod
    def crossing_time(self, link: Link, frame: int) -> float:
        """Seconds that a lone frame of so many bytes takes over a link, that of a probe left out."""

    # ---- looking

    @abstractmethod
    def capture_command(self, inventory: Inventory, name: str, packets: int = 0) -> list[str]:
        """What captures a link, or one direction of it, on its standard output. Raises LabError where it cannot be."""
