"""The lab VM's pure parts: settings, what names an image, QEMU's words, archives on bare disks, the summary."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from scenarios.verdict.invariants.evidence import NAMES
from topologies.model.errors import HostError, RunError
from vm import disks, host, qemu, vagrant
from vm.figures import broken, figures, reasons, times
from vm.steps import PYTHON, SPEED, STEPS, Step, outcomes, scenario

MEMINFO = "MemTotal:        8000000 kB\nMemAvailable:    4000000 kB\n"


def test_settings_have_defaults_and_come_from_the_environment(tmp_path: Path) -> None:
    assert host.settings({}).cache == Path.home() / ".cache" / "aifab"
    how = host.settings({"AIFAB_CACHE": str(tmp_path), "AIFAB_CPUS": "3", "AIFAB_MEMORY": "2048", "AIFAB_ACCEL": "kvm"})
    assert (how.cache, how.cpus, how.memory, how.accel) == (tmp_path, 3, 2048, "kvm")


@pytest.mark.parametrize("wrong", [{"AIFAB_CPUS": "0"}, {"AIFAB_CPUS": "two"}, {"AIFAB_MEMORY": "512"},
                                   {"AIFAB_MEMORY": ""}, {"AIFAB_ACCEL": "xen"}])
def test_a_wrong_setting_is_reported_by_its_name(wrong: dict[str, str]) -> None:
    with pytest.raises(HostError) as error:
        host.settings(wrong)
    assert error.value.where == next(iter(wrong))


def test_missing_programs_are_reported_with_their_packages() -> None:
    with pytest.raises(HostError, match="no-such-program") as error:
        host.require_programs({"no-such-program": "a-package", "sh": "dash"})
    assert "a-package" in error.value.hint
    assert "dash" not in error.value.hint


def test_too_little_memory_or_disk_is_refused(tmp_path: Path) -> None:
    host.require_memory(3000, MEMINFO)
    with pytest.raises(HostError, match="AIFAB_MEMORY"):
        host.require_memory(3500, MEMINFO)      # 3906 MB are there, the VM and QEMU need 4000
    host.require_space(tmp_path, 1)
    with pytest.raises(HostError, match="AIFAB_CACHE"):
        host.require_space(tmp_path, 1e18)


def test_virtualization_that_is_not_there_is_reported(tmp_path: Path) -> None:
    host.require_virtualization(host.settings({}), tmp_path / "kvm")
    kvm = host.settings({"AIFAB_ACCEL": "kvm"})
    (tmp_path / "there").touch()
    host.require_virtualization(kvm, tmp_path / "there")
    with pytest.raises(HostError, match="firmware"):
        host.require_virtualization(kvm, tmp_path / "kvm")


def test_a_second_test_of_the_lab_vm_waits_its_turn(tmp_path: Path) -> None:
    with host.alone(tmp_path), pytest.raises(HostError, match="no other test of the lab VM"), host.alone(tmp_path):
        pass
    with host.alone(tmp_path):      # over, and free again
        pass


def test_an_image_is_built_by_root_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(HostError, match="sudo"):
        host.image(host.settings({"AIFAB_CACHE": str(tmp_path)}))


def test_an_image_that_cannot_be_built_says_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = tmp_path / "vm" / "build_image.sh"
    builder.parent.mkdir()
    builder.write_text("exit 7")
    monkeypatch.setattr(host, "ROOT", tmp_path)
    monkeypatch.setattr(host, "BUILDER", builder)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(host, "require_programs", lambda programs: None)
    monkeypatch.setattr(host, "require_space", lambda directory, needed: None)
    with pytest.raises(HostError, match="exit code 7") as error:
        host.build(host.settings({"AIFAB_CACHE": str(tmp_path)}), tmp_path / "image")
    assert "AIFAB_MIRROR" in error.value.hint


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The files that an image is made of, in a place where they may be changed."""
    root = tmp_path / "repository"
    for name in ("pyproject.toml", "provision.sh", "vm/build_image.sh", "vm/guest/aifab-job",
                 "vm/guest/aifab-job.service", "vm/guest/vagrant.pub", "vm/guest/run"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(host.ROOT / name, root / name)
    return root


@pytest.mark.parametrize(("name", "old", "new", "another"), [
    ("provision.sh", "iperf3", "iperf", True), ("pyproject.toml", "scapy>=2.6", "scapy>=2.7", True),
    ("vm/build_image.sh", "8G", "9G", True), ("vm/guest/aifab-job", "sync", "", True),
    ("pyproject.toml", 'version = "0.1.0"', 'version = "9"', False), ("vm/guest/run", "results", "outcome", False)])
def test_an_image_is_built_anew_when_what_it_is_made_of_changes(
        repository: Path, name: str, old: str, new: str, another: bool) -> None:
    how = host.settings({})
    before = host.image_key(how, repository)
    text = (repository / name).read_text()
    assert old in text
    (repository / name).write_text(text.replace(old, new))
    assert (host.image_key(how, repository) != before) is another


def test_the_image_depends_on_the_suite_and_not_on_the_memory(repository: Path) -> None:
    keys = {host.image_key(host.settings(e), repository)
            for e in ({}, {"AIFAB_SUITE": "trixie"}, {"AIFAB_MEMORY": "2048"})}
    assert len(keys) == 2


def test_the_machine_has_no_network_and_keeps_the_image_as_it_is(tmp_path: Path) -> None:
    words = qemu.command(host.settings({}), tmp_path, tmp_path / "job.tar", tmp_path / "results.tar")
    assert next(w for w in words if w.startswith("user,")).startswith("user,restrict=on")
    drives = [w for w in words if w.startswith("file=")]
    assert ["snapshot=on" in d for d in drives] == [True, False, False]
    assert ["readonly=on" in d for d in drives] == [False, True, False]


def test_boot_keeps_the_console_and_shows_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = tmp_path / "console.log"
    qemu.boot([sys.executable, "-c", "print('booting'); print('== unit tests')"], console, 30)
    assert console.read_text() == "booting\n== unit tests\n"
    assert capsys.readouterr().out == "== unit tests\n"


@pytest.mark.parametrize(("program", "timeout", "reported"), [
    ("exit 3", 60, "exit code"), ("exec sleep 600", 1, "power off")])
def test_a_machine_that_fails_or_hangs_is_an_error_and_is_gone(
        tmp_path: Path, program: str, timeout: float, reported: str) -> None:
    with pytest.raises(RunError, match=reported):
        qemu.boot(["sh", "-c", program], tmp_path / "console.log", timeout)


def test_a_job_holds_the_repository_without_what_is_only_here(repository: Path, tmp_path: Path) -> None:
    for unwanted in (".git/HEAD", ".venv/bin/python", "runs/1/meta.json", "traffic/__pycache__/x.pyc"):
        (repository / unwanted).parent.mkdir(parents=True, exist_ok=True)
        (repository / unwanted).write_text("")
    disks.pack(tmp_path / "job.tar", repository, [Step("one", "true")])
    with tarfile.open(tmp_path / "job.tar") as tar:
        names = set(tar.getnames())
        steps = json.load(tar.extractfile("steps.json") or pytest.fail("no steps"))
    assert {"run", "src/provision.sh", "src/vm/guest/run"} <= names
    assert not [n for n in names if ".git" in n or ".venv" in n or "runs" in n or n.endswith(".pyc")]
    assert [(s["name"], s["command"]) for s in steps] == [("one", "true")]


def test_a_job_brings_the_bytecode_of_its_sources_and_python_takes_it(repository: Path, tmp_path: Path) -> None:
    (repository / "traffic").mkdir(exist_ok=True)
    (repository / "traffic" / "wave.py").write_text("print('hello')\n")
    (repository / "traffic" / "wrong.py").write_text("not python\n")
    disks.pack(tmp_path / "job.tar", repository, [])
    subprocess.run(["tar", "xf", tmp_path / "job.tar", "-C", tmp_path], check=True)
    done = subprocess.run([sys.executable, "-v", "-c", "import traffic.wave"], cwd=tmp_path / "src",
                          capture_output=True, text=True, check=True)
    assert done.stdout == "hello\n"
    assert re.search(r"wave\.\S+\.pyc matches", done.stderr)


def test_results_come_back_from_a_disk_that_is_longer_than_its_archive(tmp_path: Path) -> None:
    (tmp_path / "steps.json").write_text("[]")
    disk = tmp_path / "results.tar"
    disks.empty(disk)
    with tarfile.open(tmp_path / "small.tar", "w") as tar:
        tar.add(tmp_path / "steps.json", "steps.json")
    with disk.open("r+b") as out:
        out.write((tmp_path / "small.tar").read_bytes())
    disks.unpack(disk, tmp_path / "back")
    assert (tmp_path / "back" / "steps.json").read_text() == "[]"


def test_a_results_disk_that_was_never_written_is_reported(tmp_path: Path) -> None:
    disk = tmp_path / "results.tar"
    disks.empty(disk)
    with pytest.raises(RunError, match="none"):
        disks.unpack(disk, tmp_path / "back")


def test_a_step_is_good_by_its_exit_code_and_a_suspect_scenario_is_reported() -> None:
    steps = [Step("one", "true"), Step("two", "false"), Step("three", "sleep 9", timeout=5), scenario("a"),
             scenario("b"), scenario("c"), Step("last", "true")]
    codes: list[int | None] = [0, 1, None, 0, 4, 3]
    results = [{"name": s.name, "exit": c, "seconds": 1.0} for s, c in zip(steps, codes, strict=False)]
    found = [(o.found, o.good) for o in outcomes(steps, results)]
    assert found == [("fine", True), ("exit code 1", False), ("not done within 5 s", False), ("VALID", True),
                     ("SUSPECT", True), ("INVALID", False), ("not reached", False)]


@pytest.mark.parametrize(("reasons_of", "good"), [
    ({"headroom"}, True), ({"headroom", "link", "timers"}, True), ({"calibration", "headroom"}, False),
    ({"headroom", "ledger"}, False),
    ({"lock"}, False), ({"no emulator loss"}, False), (set(), False)])
def test_an_invalid_run_passes_only_where_nothing_but_speed_broke_it(reasons_of: set[str], good: bool) -> None:
    (outcome,) = outcomes([scenario("a")], [{"name": "scenario a", "exit": 3, "seconds": 1.0}], lambda name: reasons_of)
    assert outcome.good is good
    assert outcome.found.startswith("INVALID")


def _shell(tmp_path: Path, codes: Sequence[int], broken_by: str) -> tuple[int, int]:
    """(exit code of a scenario's step, how often it ran) where `aifab run` ends with these codes, one after another."""
    runs, count = tmp_path / "runs", tmp_path / "count"
    runs.mkdir()
    count.write_text("0")
    verdict = json.dumps({"reasons": [{"level": "INVALID", "invariant": broken_by, "text": ""}]})
    fake = tmp_path / "aifab"
    fake.write_text(f"""#!/bin/bash
n=$(($(cat {count}) + 1)); echo $n > {count}
run={runs}/$n-vm-loss-1; mkdir $run; echo '{{}}' > $run/metrics.json; echo '{verdict}' > $run/verdict.json
codes=({' '.join(map(str, codes))}); exit ${{codes[$((n - 1))]}}
""")
    fake.chmod(0o755)
    done = subprocess.run(["bash", "-c", scenario("loss").command.replace(PYTHON, sys.executable)], check=False,
                          env=os.environ | {"RESULTS": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    return done.returncode, int(count.read_text())


@pytest.mark.parametrize(("codes", "broken_by", "found"), [
    ([3, 4], "calibration", (4, 2)), ([3, 3], "calibration", (3, 2)), ([3, 0], "headroom", (3, 1)),
    ([4, 0], "calibration", (4, 1)), ([0, 4], "calibration", (0, 1)), ([2, 0], "calibration", (2, 1))])
def test_a_scenario_runs_once_more_only_if_calibration_made_it_invalid(
        tmp_path: Path, codes: list[int], broken_by: str, found: tuple[int, int]) -> None:
    assert _shell(tmp_path, codes, broken_by) == found
    assert times(tmp_path / "runs", "scenario loss") == found[1]


def test_a_second_run_is_reported() -> None:
    (outcome,) = outcomes([scenario("a")], [{"name": "scenario a", "exit": 4, "seconds": 1.0}], times=lambda name: 2)
    assert outcome.good
    assert outcome.found.startswith("SUSPECT (run 2: ")


def test_the_invariants_of_speed_are_some_of_the_verdicts() -> None:
    assert set(NAMES.values()) > SPEED


def test_a_box_boots_the_images_own_kernel_and_names_its_driver() -> None:
    files = vagrant.box_files(host.settings({}))
    assert json.loads(files["metadata.json"])["format"] == "qcow2"
    assert 'machine.driver = "qemu"' in files["Vagrantfile"]
    assert qemu.KERNEL_WORDS in files["Vagrantfile"]
    assert 'machine.cpu_model = "Westmere"' in files["Vagrantfile"]
    real = vagrant.box_files(host.settings({"AIFAB_ACCEL": "kvm"}))["Vagrantfile"]
    assert 'machine.driver = "kvm"' in real
    assert "cpu_model" not in real


def test_every_step_of_a_scenario_has_its_file() -> None:
    names = [s.name.removeprefix("scenario ") for s in STEPS if s.name.startswith("scenario ")]
    assert names
    assert all((host.ROOT / "vm" / "scenarios" / f"{name}.yml").exists() for name in names)


def _run(runs: Path, name: str, metrics: dict[str, dict[str, float]], samples: list[tuple[int, int]]) -> None:
    """A run with one direction: (bytes sent so far, bytes waiting) every tenth of a second."""
    directory = runs / f"20260101T000000Z-{name}-0000"
    directory.mkdir(parents=True)
    (directory / "metrics.json").write_text(json.dumps(metrics))
    header = {"kind": "header", "directions": ["leaf1->h2", "leaf1->h1"]}
    lines = [header, {"kind": "cpu", "t": 0.0}, *(
        {"kind": "wires", "t": n / 10, "v": [[0, 0, 0, 9], [sent, 0, 0, waiting]]}
        for n, (sent, waiting) in enumerate(samples))]
    (directory / "counters.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))


def _busy(rate: int, queue: int) -> list[tuple[int, int]]:
    """Idle, then four seconds of which the first has another queue, then idle."""
    return ([(0, 0)] * 5 + [(n * rate // 80, 77 if n < 10 else queue) for n in range(40)] + [(40 * rate // 80, 0)] * 5)


@pytest.mark.parametrize(("share", "queue", "rate", "good"), [
    (0.9, 24_000, 4_750_000, [True, True, True]), (0.89, 25_000, 4_740_000, [False, False, False])])
def test_figures_are_held_against_what_they_must_reach(
        tmp_path: Path, share: float, queue: int, rate: int, good: list[bool]) -> None:
    runs = tmp_path / "runs"
    _run(runs, "vm-delay", {"ring.busbw_of_limit": {"value": share}}, [])
    _run(runs, "vm-cubic", {}, _busy(5_000_000, 50_000))
    _run(runs, "vm-dctcp", {}, _busy(rate, queue))
    found = figures(tmp_path)
    assert [f.good for f in found] == good
    assert f"{queue / 1e3:.1f} kB, Cubic's 50.0 kB" in found[1].text


@pytest.mark.parametrize(("lost", "named", "balances", "good"), [
    (7, 7, True, True), (7, 6, True, False), (0, 0, True, False), (7, 7, False, False)])
def test_an_incast_is_good_if_every_lost_packet_has_its_name(
        tmp_path: Path, lost: int, named: int, balances: bool, good: bool) -> None:
    _run(tmp_path / "runs", "vm-incast-kernel", {}, [])
    run = next((tmp_path / "runs").iterdir())
    streams = [{"kind": "stream", "workload": "senders", "sent": 100, "received": 100 - lost,
                "reordered": 2},
               {"kind": "stream", "workload": "sentinel", "sent": 9, "received": 1, "reordered": 5},
               {"kind": "packets"}]
    (run / "records.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in streams))
    (run / "ledger.json").write_text(json.dumps({"balances": balances, "queue_drops": {"leaf1->h1": named}}))
    (figure,) = figures(tmp_path)
    assert figure.good is good
    assert f"kernel datapath: {lost} packets lost, {named} named" in figure.text
    assert f"2 of {100 - lost} that arrived were out of order" in figure.text


@pytest.mark.parametrize(("measured", "good"), [(11.4e-3, True), (11.6e-3, False), (8.6e-3, True), (8.4e-3, False)])
def test_a_round_trip_is_held_against_delays_serialisation_and_floor(
        tmp_path: Path, measured: float, good: bool) -> None:
    trip = {"measured": measured, "floor": 1e-3, "delays": 8e-3, "serialisation": 1e-3}
    (tmp_path / "rtt.json").write_text(json.dumps(trip))
    (figure,) = figures(tmp_path)
    assert figure.good is good
    assert "spec's 10.00" in figure.text


@pytest.mark.parametrize(("losses", "balances", "good"), [
    ({"leaf1->spine1": 5}, True, True), ({"leaf1->spine1": 3, "spine1->leaf1": 2}, True, True),
    ({"leaf1->spine1": 9}, True, False), ({}, True, False), ({"leaf1->spine1": 5, "h1->leaf1": 1}, True, False),
    ({"leaf1->spine1": 5}, False, False)])
def test_losses_are_held_against_what_the_link_should_lose(
        tmp_path: Path, losses: dict[str, int], balances: bool, good: bool) -> None:
    _run(tmp_path / "runs", "vm-loss", {}, [])
    run = next((tmp_path / "runs").iterdir())
    (run / "ledger.json").write_text(json.dumps({"balances": balances, "link_losses": losses}))
    calibrated = [[9, 3000, 0, 0], [9, 3000, 0, 0]]     # what a wire carried before packets were accounted for
    lines = [{"kind": "header", "directions": ["spine1->leaf1", "leaf1->spine1"]},
             {"kind": "wires", "t": 1.0, "v": calibrated},
             {"kind": "wires", "t": 2.0, "v": [[9, 3100, 0, 0], [9, 3895, 0, 0]]}, {"kind": "cpu", "t": 2.0}]
    (run / "counters.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    (figure,) = figures(tmp_path)
    assert figure.good is good
    if losses.get("leaf1->spine1") == 5:
        assert "0.50% of 1000 packets" in figure.text


def test_a_verdict_is_reported_with_its_reasons(tmp_path: Path) -> None:
    _run(tmp_path, "vm-delay", {}, [])
    run = next(tmp_path.iterdir())
    (run / "verdict.json").write_text(json.dumps(
        {"reasons": [{"level": "SUSPECT", "invariant": "headroom", "text": "too slow"}]}))
    assert reasons(tmp_path, "scenario delay") == ["SUSPECT, headroom: too slow"]
    assert broken(tmp_path, "scenario delay") == set()
    assert reasons(tmp_path, "unit tests") == reasons(tmp_path, "scenario other") == []


def test_a_run_that_is_not_there_has_no_figure(tmp_path: Path) -> None:
    assert figures(tmp_path) == []
