"""One replay by the engine and by the model, and fabrics drawn for it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from tests.fabricd.build import fabricd_program
from tests.fabricd.frames import IPV4, UDP, frame
from tests.fabricd.model import Model

LEAVES, SPINE = ("leaf1", "leaf2"), "spine1"
SIZES = (18, 200, 1400)     # bytes of UDP payload: frames of 60, 242 and 1,442
DSCPS = (0, 10, 26, 46)     # in queues 0 to 3


class Input(NamedTuple):
    """time ns; of a host the frame it sends, or else a command."""

    time: int
    host: str
    content: str

    def __str__(self) -> str:
        return f"{self.time} frame {self.host} {self.content}" if self.host else f"{self.time} do {self.content}"


def made_frame(src: int, dst: int, dscp: int = 0, ecn: int = 0, size: int = 1400, number: int = 0) -> str:
    """UDP from 10.0.0.src to 10.0.0.dst with so many bytes of payload that begins with a number; hexadecimal."""
    return frame({"eth_src": f"02:00:00:00:00:{src:02x}", "eth_dst": f"02:00:00:00:00:{dst:02x}", "eth_type": IPV4,
                  "ip_proto": UDP, "ipv4_src": f"10.0.0.{src}", "ipv4_dst": f"10.0.0.{dst}", "ip_dscp": dscp,
                  "ip_ecn": ecn, "udp_src": 1000 + src, "udp_dst": 2000, "nw_ttl": 64, "fragment": 0x4000},
                 number.to_bytes(4, "big") + bytes(size - 4)).hex()


def fabric(hosts: int, seed: int = 1, **rates: int) -> list[str]:
    """A configuration: hosts by turns on two leaves below one spine. rates: of access and uplink, bit/s."""
    access, uplink = rates.get("access", 10_000_000), rates.get("uplink", 20_000_000)
    lines = [f"option seed={seed}", *(f"switch {s}" for s in (*LEAVES, SPINE))]
    names = [f"h{n}" for n in range(1, hosts + 1)]
    lines += [f"host {h} netns=/run/netns/{h} device=e0 mac=02:00:00:00:00:{n:02x} mtu=1500 attach=calm"
              for n, h in enumerate(names, 1)]
    lines += [f"link {h}-{_leaf(n)} {h}:0 {_leaf(n)}:{n} rate={access}" for n, h in enumerate(names, 1)]
    lines += [f"link {leaf}-{SPINE} {leaf}:100 {SPINE}:{n} rate={uplink}" for n, leaf in enumerate(LEAVES, 1)]
    lines += [f"dscp {dscp} queue={q}" for q, dscp in enumerate(DSCPS)]
    for n in range(1, hosts + 1):
        ports = {leaf: n if leaf == _leaf(n) else 100 for leaf in LEAVES} | {SPINE: LEAVES.index(_leaf(n)) + 1}
        lines += [f"rule {s} {n} table=0 priority=1 match eth_type=0x800,ipv4_dst=10.0.0.{n} do output:{port}"
                  for s, port in ports.items()]
    return lines


def _leaf(host: int) -> str:
    return LEAVES[(host - 1) % 2]


def directions(hosts: int) -> list[str]:
    pairs = [(f"h{n}", _leaf(n)) for n in range(1, hosts + 1)] + [(leaf, SPINE) for leaf in LEAVES]
    return [name for a, b in pairs for name in (f"{a}->{b}", f"{b}->{a}")]


def by_model(config: list[str], inputs: list[Input]) -> Model:
    model = Model(config)
    for each in inputs:
        if each.host:
            model.frame(each.time, each.host, bytes.fromhex(each.content))
        else:
            model.command(each.time, each.content)
    model.run_out()
    return model


def by_engine(directory: Path, config: list[str], inputs: list[Input], counters: Path) -> list[str]:
    """What the engine's replay writes. Its sanitizers' word is a failure."""
    path = directory / "replay.conf"
    path.write_text("\n".join(config) + "\n")
    done = subprocess.run([fabricd_program(), "--replay", path, counters], text=True, capture_output=True, check=False,
                          input="".join(f"{each}\n" for each in inputs), timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[:2000]
    return done.stdout.splitlines()


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], list[Input]]:
    """A fabric with settings of all kinds, frames in bursts, and changes while they are on their way."""
    hosts = draw(st.integers(2, 5))
    config = fabric(hosts, draw(st.integers(0, 3)), access=draw(st.sampled_from([1_000_000, 10_000_000])),
                    uplink=draw(st.sampled_from([1_500_000, 20_000_000])))
    names = directions(hosts)
    config += draw(st.lists(_setting(names), max_size=8))
    times = sorted(draw(st.lists(st.integers(0, 30_000_000), min_size=1, max_size=25)))
    inputs = []
    for n, time in enumerate(times):
        if draw(st.integers(0, 5)) == 0:
            inputs.append(Input(time, "", draw(st.one_of(_setting(names), _event(names, hosts)))))
            continue
        src, dst = draw(st.permutations(range(1, hosts + 1)))[:2]
        count, dscp, ecn = draw(st.integers(1, 6)), draw(st.sampled_from(DSCPS)), draw(st.integers(0, 3))
        inputs += [Input(time, f"h{src}", made_frame(src, dst, dscp, ecn, draw(st.sampled_from(SIZES)), n * 10 + i))
                   for i in range(count)]
    return config, inputs


def _setting(names: list[str]) -> st.SearchStrategy[str]:
    share = st.sampled_from(["0", "0.1", "0.3", "0.5", "1"])
    size = st.sampled_from(["0", "1500", "3000", "6000", "20000"])
    words = {
        "direction {d} rate={}": (st.sampled_from(["500000", "3000000", "40000001"]),),
        "direction {d} delay={}": (st.sampled_from(["0", "1", "700000", "5000000"]),),
        "direction {d} delay=1000000 jitter={}": (st.sampled_from(["0", "300000", "3000000"]),),
        "direction {d} loss={} duplicate={}": (share, share),
        "direction {d} delay=900000 reorder={} ber={}": (share, st.sampled_from(["0", "0.0001"])),
        "queue {d} {} limit={}": (st.integers(0, 3), size),
        "queue {d} {} level={} limit=9000": (st.integers(0, 3), st.integers(0, 2)),
        "queue {d} {} min={} max={}": (st.integers(0, 3), share, share),
        "queue {d} {} kmin={} kmax=9000 pmax={}": (st.integers(0, 3), st.sampled_from(["0", "1500", "3000"]), share),
        "queue {d} {} beside={}": (st.integers(0, 3), st.sampled_from("01")),
        "queue {s} {} xoff={} xon=1000 headroom={}": (st.integers(0, 3), st.sampled_from(["1000", "3000"]),
                                                      st.sampled_from(["1500", "9000", "90000"])),
        "queue {s} {} xoff=0": (st.integers(0, 3),),
    }
    to_switch = [n for n in names if "->h" not in n]

    def filled(form: str) -> st.SearchStrategy[str]:
        return st.tuples(st.sampled_from(names), st.sampled_from(to_switch), *words[form]).map(
            lambda drawn: form.format(*drawn[2:], d=drawn[0], s=drawn[1]))

    return st.sampled_from(sorted(words)).flatmap(filled)


def _event(names: list[str], hosts: int) -> st.SearchStrategy[str]:
    cables = [f"h{n}-{_leaf(n)}" for n in range(1, hosts + 1)] + [f"{leaf}-{SPINE}" for leaf in LEAVES]
    state = st.sampled_from(["up", "down"])
    return st.one_of(st.tuples(st.sampled_from(cables), state).map(lambda x: f"cable {x[0]} {x[1]}"),
                     st.tuples(st.sampled_from(names), state).map(lambda x: f"way {x[0]} {x[1]}"))
