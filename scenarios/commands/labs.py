"""aifab up, cli, exec, capture: a lab to play with, and ways into one that runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from topologies.model.fabric import Fabric as FabricOfLab
    from topologies.model.inventory import Inventory

LOOK = 0.2      # seconds between two looks at a user's controller
Fabric = Annotated[str, typer.Argument(help="a fabric file, or a name of the catalog")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="change a value first")]
LabId = Annotated[str, typer.Option("--lab", metavar="ID", help="which lab, if several are up")]


def up(
    fabric: Fabric = "small", settings: Settings = None,
    listen: Annotated[str, typer.Option(
        metavar="127.0.0.1:PORT", help="also serve the controller's API on a loopback TCP port; needs its token")] = "",
    controller: Annotated[Path | None, typer.Option(
        metavar="FILE.py", help="an os-ken application of your own in place of aifab's controller")] = None,
) -> None:
    """Bring a fabric up with its controller and keep it until Ctrl-C.

    Examples:

      sudo aifab up

      sudo aifab up spines4 --set host_rate=5mbit

      sudo aifab up small --listen 127.0.0.1:8080

      sudo aifab up small --controller scenarios/examples/controllers/learning_switch.py
    """
    from controller.northbound.tcp import TOKEN_FILE, loopback
    from scenarios.run.lab import lab
    from topologies.model.expansion import expand
    from topologies.model.load import load_fabric

    wanted = expand(load_fabric(fabric, settings or []))
    if listen:
        loopback(listen)
    if listen and controller:
        raise typer.BadParameter("is aifab's own controller's: leave one of the two out", param_hint="--listen")
    signal.signal(signal.SIGTERM, signal.default_int_handler)   # it takes the lab down as Ctrl-C does
    if controller:
        _up_with(wanted, controller)
        return
    with lab(wanted, listen=listen) as it, contextlib.suppress(KeyboardInterrupt):
        _tell_up(wanted, it.inventory.lab)
        if listen:
            typer.echo(f"API on http://{listen}, with the token in {Path(it.inventory.directory) / TOKEN_FILE}")
        typer.echo("Ctrl-C takes it down")
        signal.pause()


def _tell_up(wanted: FabricOfLab, lab_id: str) -> None:
    from scenarios.spec.expected import fabric_line

    typer.echo(fabric_line(wanted))
    typer.echo(f"lab {lab_id} is up; hosts: {', '.join(h.name for h in wanted.all_hosts)}")
    first, last = wanted.all_hosts[0], wanted.hosts[-1]
    typer.echo(f"from another terminal:  aifab exec {first.name} -- ping -c3 {last.ip}")


def _up_with(wanted: FabricOfLab, application: Path) -> None:
    """Under a user's controller, until Ctrl-C or until it has ended."""
    from scenarios.run.own_controller import lab_of_application

    with lab_of_application(wanted, application) as (net, look), contextlib.suppress(KeyboardInterrupt):
        _tell_up(wanted, net.inventory.lab)
        typer.echo(f"all switches are connected to {application}, whose output is below; Ctrl-C takes the lab down")
        while True:
            look()
            time.sleep(LOOK)


def cli(fabric: Fabric = "small", settings: Settings = None) -> None:
    """Bring a fabric up and drop into the Mininet command line.

    Examples:

      sudo aifab cli

      mininet> h1 ping -c3 h5
    """
    from scenarios.run.lab import lab
    from topologies.model.expansion import expand
    from topologies.model.load import load_fabric

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with lab(expand(load_fabric(fabric, settings or []))) as it:
        it.net.command_line()


def execute(
    words: Annotated[list[str], typer.Argument(
        metavar="[HOST] -- COMMAND...", help="a host of a running lab, and what to run there")],
    ranks: Annotated[int | None, typer.Option(
        "--ranks", metavar="N", min=1, help="run the command N times instead, on one host each")] = None,
    lab_id: LabId = "",
) -> None:
    """Run a command on a host of a running lab, or a distributed program on many.

    With --ranks the hosts are dealt out over the leaves, and each process finds RANK, WORLD_SIZE, LOCAL_RANK,
    LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT and the interface variables of Gloo and NCCL in its environment.
    What it prints has its rank in front; then where the packets went, and what each leaf's uplinks carried.

    Examples:

      sudo aifab exec h1 -- ping -c3 10.9.2.1

      sudo aifab exec --ranks 8 -- .venv/bin/python scenarios/examples/ring.py
    """
    from scenarios.run.attach import running_inventory

    if ranks is not None:
        _launch(running_inventory(lab_id), ranks, words)
        return
    host, *command = words
    if not command:
        raise typer.BadParameter("a host and a command, such as: h1 -- ping -c3 10.9.2.1", param_hint="HOST -- COMMAND")
    inventory = running_inventory(lab_id)
    path = inventory.netns_path(host if host in inventory.routers else inventory.fabric.host(host).name)
    raise typer.Exit(subprocess.run(["nsenter", f"--net={path}", *command], check=False).returncode)


def _launch(inventory: Inventory, ranks: int, command: list[str]) -> None:
    from scenarios.run.ranks import check, link_bytes, reported, run_ranks, spread

    def tell(rank: int, name: str, line: str) -> None:
        typer.echo(f"[{rank}] {line}", err=name == "stderr")

    signal.signal(signal.SIGTERM, signal.default_int_handler)   # it ends the ranks as Ctrl-C does
    before = link_bytes(inventory)
    ledger = run_ranks(inventory, ranks, command, tell)
    typer.echo("\n".join([*reported(ledger), *spread(inventory.fabric, before, link_bytes(inventory))]))
    check(ledger)


def capture(
    link: Annotated[str, typer.Argument(help="a link such as leaf1-spine1, or a direction leaf1->spine1")],
    file: Annotated[Path, typer.Option("--write", "-w", help="the pcap file; -: standard output")] = Path(
        "capture.pcap"),
    packets: Annotated[int, typer.Option("--count", "-c", min=0, help="stop after so many packets; 0: at Ctrl-C")] = 0,
    lab_id: LabId = "",
) -> None:
    """Write what crosses a wire to a pcap file, with nanosecond stamps.

    A direction A->B is seen where it leaves the wire, behind its queue; a link A-B at A's side, both ways.

    Examples:

      sudo aifab capture leaf1-spine1 -w underlay.pcap

      sudo aifab capture 'spine1->leaf2' -w queued.pcap -c 1000
    """
    from scenarios.run.attach import capture_command, running_inventory

    command = capture_command(running_inventory(lab_id), link, packets)
    with _written(file) as out, subprocess.Popen(command, stdout=out) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)      # tcpdump then writes what it holds
            code = process.wait()
    raise typer.Exit(code)


@contextlib.contextmanager
def _written(file: Path) -> Iterator[int | None]:
    """A descriptor of a new file; None for standard output."""
    from topologies.access import files
    from topologies.model.errors import LabError

    if str(file) == "-":
        yield None
        return
    try:
        opened = files.new_file(file)
    except OSError as error:
        raise LabError(str(file), "a file that can be written", error.strerror or str(error),
                       "name another one, or - for standard output") from None
    try:
        yield opened
    finally:
        os.close(opened)
