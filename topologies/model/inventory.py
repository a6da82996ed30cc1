"""What a running lab tells the other processes: the fabric, and where its parts live.

One JSON file per lab. The controller, the traffic engine and the counters read it; none of them
sees a Mininet object.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topologies.model.errors import LabError
from topologies.model.fabric import Fabric


class WireDevices(BaseModel):
    """The two devices of a wire in the wiring namespace: `a` faces the link's end a, `b` its end b."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    a: str
    b: str


class SwitchProcess(BaseModel):
    """One switch as it was started. `directory` is its own; `pid` is the process that forwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    directory: str
    pid: int
    policy: int = os.SCHED_OTHER    # scheduling policy that it was given


CONTROLLER_SOCKET, API_SOCKET = "openflow.sock", "api.sock"     # in a lab's directory


class Inventory(BaseModel):
    """A running lab."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lab: str
    directory: str
    fabric: Fabric
    netns: dict[str, str]           # node -> name under /run/netns
    wiring: str                     # name of the wiring namespace; '' where links have none
    wires: dict[str, WireDevices]   # link -> devices, where links are made of any
    switches: dict[str, SwitchProcess]
    datapath: str                   # its name in topologies/switches/datapaths.py
    controller_socket: str          # OpenFlow: the controller listens here
    api_socket: str                 # northbound API of the controller
    speaker: str = ""               # namespace of the controller's BGP speaker; '' without BGP
    routers: dict[str, str] = Field(default_factory=dict)   # BGP peer, or a host behind its VTEP -> its namespace

    def netns_path(self, node: str) -> str:
        return f"/run/netns/{(self.netns | self.routers)[node]}"

    @classmethod
    def read(cls, path: Path) -> Inventory:
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise LabError(str(path), "the inventory of a running lab", "no such file",
                           "start one with: aifab up FABRIC") from None
        except ValidationError as error:
            raise LabError(str(path), "the inventory of a running lab",
                           f"{error.error_count()} problems, first: {error.errors()[0]['msg']}") from None
