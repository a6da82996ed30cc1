"""Intents for tests: by hand, and drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from controller.intent.intent import Intent

Spec = dict[str, Any]


def vpc(name: str, subnets: dict[str, Spec | str], **spec: Any) -> Spec:
    """A VPC; a subnet may be its prefix alone."""
    whole = {n: {"subnet": s} if isinstance(s, str) else s for n, s in subnets.items()}
    return {"kind": "VPC", "metadata": {"name": name}, "spec": {"subnets": whole, **spec}}


def attach(host: str, subnet: str) -> Spec:
    return {"kind": "VPCAttachment", "metadata": {"name": f"{subnet.replace('/', '.')}.{host}"},
            "spec": {"connection": host, "subnet": subnet}}


def peer(**sides: Sequence[str]) -> Spec:
    """peer(a=[], b=["x"]): all of a with subnet x of b."""
    return {"kind": "VPCPeering", "metadata": {"name": "-".join(sides)},
            "spec": {"permit": [{name: {"subnets": list(subnets)} for name, subnets in sides.items()}]}}


def external(name: str, *prefixes: str) -> Spec:
    return {"kind": "External", "metadata": {"name": name}, "spec": {"static": {"prefixes": list(prefixes)}}}


def external_attach(name: str, host: str, ip: str, remote: str) -> Spec:
    return {"kind": "ExternalAttachment", "metadata": {"name": f"{name}.{host}"},
            "spec": {"external": name, "connection": host, "static": {"ip": ip, "remoteIP": remote}}}


def external_peer(vpc: str, subnets: Sequence[str], external: str, *prefixes: str) -> Spec:
    """Subnets (none named: all) of a VPC with prefixes of an External."""
    return {"kind": "ExternalPeering", "metadata": {"name": f"{vpc}-{external}"},
            "spec": {"permit": {"vpc": {"name": vpc, "subnets": list(subnets)},
                                "external": {"name": external, "prefixes": [{"prefix": p} for p in prefixes]}}}}


def intent(*objects: Spec) -> Intent:
    return Intent.model_validate({"objects": objects})


@st.composite
def intents(draw: st.DrawFn, hosts: Sequence[str]) -> Intent:
    """Two or three VPCs of one to three subnets, of which the first and the last may overlap; any policy."""
    flag = st.sampled_from([None, True, False])
    objects = []
    names = ["a", "b", "c"][: draw(st.integers(2, 3))]
    subnets: dict[str, list[str]] = {}
    for n, name in enumerate(names):
        subnets[name] = [f"s{k}" for k in range(draw(st.integers(1, 3)))]
        spec = {s: {"subnet": f"10.{n % 2}.{k}.0/24", "isolated": draw(flag), "restricted": draw(flag)}
                for k, s in enumerate(subnets[name])}
        permit = draw(st.lists(st.lists(st.sampled_from(subnets[name]), min_size=1, max_size=2), max_size=1))
        objects.append(vpc(name, spec, permit=permit, mode=draw(st.sampled_from(["l2vni", "l2vni", "l3vni"])),  # type: ignore[arg-type]
                           defaultIsolated=draw(st.booleans()), defaultRestricted=draw(st.booleans())))
    segments = [f"{v}/{s}" for v, all_of_it in subnets.items() for s in all_of_it]
    objects += [attach(h, draw(st.sampled_from(segments))) for h in hosts if draw(st.integers(0, 4))]
    if draw(st.booleans()):
        one = draw(st.lists(st.sampled_from(subnets["a"]), max_size=2, unique=True))
        objects.append(peer(a=one, b=draw(st.lists(st.sampled_from(subnets["b"]), max_size=1))))
    return intent(*objects)
