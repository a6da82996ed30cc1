"""A running fabric: Mininet's interface works, labs share nothing, nothing is left however a block ends."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from mininet.cli import CLI

from scenarios.run.lab import Lab, lab
from tests.lab.fabric_lab import Traces, holders, udp, with_word_in_environment
from topologies.access.netns import get_sysctl, inside
from topologies.clos import LeafSpine
from topologies.lab import network
from topologies.lab.host_limits import SYSCTLS
from topologies.lab.journal import OWNER_MARK, Journal, Process, all_labs
from topologies.lab.network import running, uninterrupted
from topologies.model.errors import RunError
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec
from topologies.switches.ovs.management.process import control_socket, openflow_socket

pytestmark = pytest.mark.lab

TINY = FabricSpec(name="tiny", leaves=1, spines=1, hosts_per_leaf=2)
PING = "ping -c1 -W2"


def _answers(it: Lab, source: str, target: str) -> bool:
    return "1 received" in it.net.get(source).cmd(PING, it.fabric.host(target).ip)


def test_hosts_answer_as_in_mininet(small_lab: Lab) -> None:
    net, h1 = small_lab.net, small_lab.fabric.host("h1")
    assert net.get("h1").cmd("echo over here").strip() == "over here"
    assert net.get("h1").IP() == h1.ip
    assert net.get("h1").MAC() == h1.mac
    assert net["leaf1"] in net.switches
    assert {h.name for h in net.hosts} == {h.name for h in small_lab.fabric.all_hosts}
    assert f"inet {h1.ip}/16" in net.get("h1").cmd("ip -4 addr show")
    assert _answers(small_lab, "h1", "h5")
    assert net.pingAll(timeout="2") == 0
    with net.get("h1").popen("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.communicate(b"through")[0] == b"through"


def test_the_command_line_of_mininet_works_on_it(small_lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    command_line = CLI.__new__(CLI)
    command_line.mn, command_line.locals, command_line.isatty = small_lab.net, {"net": small_lab.net}, lambda: False
    CLI.prompt = "mininet> "
    said = io.StringIO()
    from mininet.log import lg  # noqa: PLC0415 - its handler is looked at, not used

    handler, lg.handlers[0].stream = lg.handlers[0].stream, said
    try:
        with redirect_stdout(said):
            super(CLI, command_line).__init__(stdin=io.StringIO())
            for line in ("nodes", "net", "dump", "link h2 leaf1 down", "link h2 leaf1 up", "py net.get('h1').IP()"):
                command_line.onecmd(line)
    finally:
        lg.handlers[0].stream = handler
    text = said.getvalue() + capsys.readouterr().out
    assert "h1-eth0:leaf1-eth101" in text
    assert small_lab.fabric.host("h1").ip in text
    assert "*** " not in text.replace("*** Unknown", "") or "Unknown" not in text


def test_a_pulled_cable_takes_the_carrier_of_both_ends(small_lab: Lab) -> None:
    def carriers() -> list[str]:
        found = []
        for node, port in (("leaf1", "leaf1-eth1"), ("spine1", "spine1-eth1")):
            with inside(small_lab.inventory.netns_path(node)):
                text = subprocess.run(["ip", "-br", "link", "show", port], capture_output=True, text=True, check=True)
            found.append("LOWER_UP" if "LOWER_UP" in text.stdout else "NO-CARRIER")
        return found

    assert carriers() == ["LOWER_UP"] * 2
    small_lab.net.configLinkStatus("leaf1", "spine1", "down")
    try:
        assert carriers() == ["NO-CARRIER"] * 2
    finally:
        small_lab.net.configLinkStatus("leaf1", "spine1", "up")
    assert carriers() == ["LOWER_UP"] * 2


def test_hosts_have_no_ipv6_and_no_offloads(small_lab: Lab) -> None:
    assert small_lab.net.get("h1").cmd("ip -6 addr").strip() == ""
    said = small_lab.net.get("h1").cmd("ethtool -k h1-eth0")
    for offload in ("tx-checksumming", "tx-tcp-segmentation", "generic-segmentation-offload",
                    "generic-receive-offload"):
        assert f"{offload}: off" in said


def test_a_topo_class_is_a_lab_too() -> None:
    with running(LeafSpine(leaves=1, spines=1, hosts_per_leaf=2, probes=False)) as net:
        assert net.get("h2").cmd("hostname -I").split() == [net.fabric.host("h2").ip]


def test_two_labs_of_one_spec_share_nothing_and_both_work(small_lab: Lab) -> None:
    """Same spec twice: same names and addresses inside, nothing in common outside."""
    with lab(TINY) as one, lab(TINY) as two:
        a, b = Traces.of(one), Traces.of(two)
        assert not set(a.namespaces) & set(b.namespaces)
        assert not {p.pid for p in a.processes} & {p.pid for p in b.processes}
        assert a.directory != b.directory
        assert holders()[-2:] == [one.inventory.lab, two.inventory.lab]
        assert all(_answers(it, "h1", "h2") for it in (one, two, small_lab))
        with udp(one, "h2", 9000) as here, udp(two, "h2", 9000) as there, udp(one, "h1") as sender:
            sender.sendto(b"for one", (one.fabric.host("h2").ip, 9000))
            here.settimeout(3)
            assert here.recv(100) == b"for one"
            there.setblocking(False)
            with pytest.raises(BlockingIOError):
                there.recv(100)
    assert (a.left(), b.left()) == ([], [])
    assert _answers(small_lab, "h1", "h5"), "the third lab is untouched"
    assert get_sysctl("net.core.wmem_default") == str(SYSCTLS["net.core.wmem_default"]), "it still holds the settings"


def test_the_last_lab_that_goes_gives_the_settings_back() -> None:
    before = {key: get_sysctl(key) for key in SYSCTLS}
    others = bool(holders())
    with running(TINY) as net:
        assert {key: get_sysctl(key) for key in SYSCTLS} == {k: str(v) for k, v in SYSCTLS.items()}
        lab_id = net.journal.lab
        assert lab_id in holders()
    assert lab_id not in holders()
    if not others and not holders():
        assert {key: get_sysctl(key) for key in SYSCTLS} == before


def test_nothing_is_left_after_an_error_in_the_block() -> None:
    seen: list[Traces] = []

    def broken() -> None:
        with lab(TINY) as it:
            seen.append(Traces.of(it))
            it.net.get("h1").cmd("sleep 1000 &")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert len(seen[0].processes) == 5
    assert seen[0].left() == []


def test_a_fabric_that_does_not_come_up_leaves_no_controller_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller's process starts before the fabric."""
    begun: list[Process] = []

    def fail(fabric: Fabric, journal: Journal) -> Inventory:
        begun.extend(journal.processes)
        raise RunError("the fabric", "to come up", "it did not")

    monkeypatch.setattr(network, "bring_up_fabric", fail)
    with pytest.raises(RunError, match="it did not"), lab(TINY):
        pass
    assert [p.what for p in begun] == ["controller"]
    assert not begun[0].alive
    assert not Path(f"/proc/{begun[0].pid}").exists()


def test_a_controller_that_dies_at_its_start_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RunError, match="it ended: no word"), lab(TINY):
        pass


_INTERRUPTED = """
import os, signal, sys, threading, time
from scenarios.run.lab import lab
from topologies.model.spec import FabricSpec

signal.signal(signal.SIGINT, signal.default_int_handler)
for moment in sys.argv[1:]:
    threading.Timer(float(moment), os.kill, (os.getpid(), signal.SIGINT)).start()
with lab(FabricSpec(name="tiny", leaves=1, spines=1, hosts_per_leaf=2)) as it:
    print(it.inventory.lab, flush=True)
    time.sleep(20)
"""


@pytest.mark.parametrize("moments", [
    [0.0], [0.03], [0.1], [0.2], [0.5], [0.8], [1.5], [0.05, 0.06], [0.15, 0.2, 0.25], [0.4, 0.41, 0.45], [1.5, 1.51]])
def test_ctrl_c_leaves_nothing_whenever_and_however_often_it_comes(moments: list[float]) -> None:
    process = subprocess.Popen([sys.executable, "-c", _INTERRUPTED, *map(str, moments)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert process.returncode == -signal.SIGINT
    assert left_by(process.pid) == []
    assert alive_of(process.pid) == []


def alive_of(owner: int) -> list[int]:
    """Programs that a process ran for its labs and that outlived it."""
    return with_word_in_environment(f"{OWNER_MARK}={owner}:")


def left_by(owner: int) -> list[str]:
    """Labs of which that process is the owner and that are still recorded."""
    return [j.lab for j in all_labs() if j.owner is not None and j.owner.pid == owner]


def test_a_signal_during_the_clean_up_takes_effect_after_it() -> None:
    done: list[str] = []

    def tidy() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        tidy()
    assert done == ["all of it"]


def test_a_termination_during_the_clean_up_is_not_swallowed() -> None:
    script = ("import os, signal\nfrom topologies.lab.network import uninterrupted\n"
              "with uninterrupted():\n    os.kill(os.getpid(), signal.SIGTERM)\n    print('tidy', flush=True)\n"
              "print('still here', flush=True)\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("tidy\n", -signal.SIGTERM)


def test_a_directory_of_a_lab_holds_no_file_of_another(small_lab: Lab) -> None:
    mine = Path(small_lab.inventory.directory)
    assert mine.name == small_lab.inventory.lab
    assert all(str(p).startswith(f"{mine}/") for s in small_lab.inventory.switches.values()
               for p in (s.directory, control_socket(s), openflow_socket(s)))
