"""What files of earlier versions call things, and what that is called now: the one place that knows old names.

A run or a study of before is read with the names of today, and so shows, compares and grades as a new one does. What
has changed by more than its name is refused where it is read.
"""

from __future__ import annotations

from collections.abc import Mapping

Json = Mapping[str, object]
METRICS = {
    "laggard_share": "straggler_lateness", "pacing": "bottleneck_link", "pacing_rate": "bottleneck_link_rate",
    "pacing_siblings": "peer_link_rate", "slo_share": "slo_attainment", "token_slo_share": "token_slo_attainment",
    "hit_share": "hit_rate", "hit_gpu_share": "gpu_hit_rate", "hit_host_share": "host_hit_rate",
    "hit_store_share": "store_hit_rate", "error_share": "error_rate", "tail_sure": "tail_only_path_share",
    "fabric_stretch": "communication_slowdown", "answered": "completed", "timeouts": "timed_out", "broken": "failed",
    "e2e": "e2el", "e2e_p90": "e2el_p90", "e2e_p99": "e2el_p99", "e2e_interference": "e2el_interference",
    "tasks_done": "tasks_completed", "store_broken": "store_failed",
}
RECORDS = {"slip": "timer-lateness", "slip-run": "timer-lateness-run"}      # kinds
_IN_RECORDS = {"stream": {"pacing": "lateness"}, "roce": {"timeouts": "retransmission_timeouts"}}
# kind -> what its records lacked once: the kernel's initial window, and what nothing is made of
_LACKED: dict[str, dict[str, object]] = {
    "tcp-settings": {"initial_window": 10}, "roce": {"messages": 0}, "serving-setup": {"gateway": ""}}
_LEDGER = {"closes": "balances"}
_DATAPATHS = {"user": "ovs", "kernel": "ovs-kernel"}    # of a fabric's spec
_END = {"port": "interface", "number": "ofport"}        # of a link
_QUEUE = {"bytes", "packets", "kind", "min", "max", "ecn"}      # of every queue, once
_OF_A_KIND = {"red": {"min", "max", "ecn"}, "fq_codel": {"ecn"}}
_SUBJECTS = ("metric", "of", "of_prediction", "culprit")    # keys of a check that name a metric


def metric_key(key: str) -> str:
    """A key of metrics.json with its tag as it is called now: 'chat.main.e2e_p99' -> 'chat.main.e2el_p99'."""
    owner, dot, tag = key.rpartition(".")
    return f"{owner}{dot}{METRICS.get(tag, tag)}"


def renamed(key: str) -> str:
    """A hint for a key that a scenario names as an earlier version did; '' for any other."""
    now = metric_key(key)
    return f"it is called {now} now" if now != key else ""


def part(name: str, value: dict[str, object]) -> dict[str, object]:
    """A JSON part of a run, 'metrics' or another, with the names of today."""
    match name:
        case "metrics" | "predictions":
            return {metric_key(key): _metric(m) for key, m in value.items()}
        case "ledger":
            return _renamed(value, _LEDGER)
        case "scenario":
            return _scenario(value)
        case "inventory":
            return _inventory(value)
    return value


def record(row: dict[str, object]) -> dict[str, object]:
    """A line of records.jsonl with the names of today."""
    kind = str(row.get("kind"))
    if kind in RECORDS:
        return {**row, "kind": RECORDS[kind]}
    if kind not in _IN_RECORDS and kind not in _LACKED:
        return row
    return _LACKED.get(kind, {}) | _renamed(row, _IN_RECORDS.get(kind, {}))


def study(value: dict[str, object]) -> dict[str, object]:
    """A study.json with the names of today; what it lacks is left to whoever reads it."""
    found = dict(value)
    if isinstance(metrics := value.get("metrics"), list):
        found["metrics"] = [_check(m) if isinstance(m, dict) else m for m in metrics]
    if isinstance(designs := value.get("designs"), dict):
        found["designs"] = {name: _design(d) if isinstance(d, dict) else d for name, d in designs.items()}
    return found


def _design(value: Json) -> dict[str, object]:
    found = dict(value)
    if isinstance(scenario := value.get("scenario"), dict):
        found["scenario"] = _scenario(scenario)
    if isinstance(runs := value.get("runs"), list):
        found["runs"] = [{**r, "metrics": {metric_key(k): m for k, m in r["metrics"].items()}}
                         if isinstance(r, dict) and isinstance(r.get("metrics"), dict) else r for r in runs]
    return found


def _scenario(value: dict[str, object]) -> dict[str, object]:
    return {key: {name: _check(c) if isinstance(c, dict) else c for name, c in part.items()}
            if key in ("validate", "checks") and isinstance(part, dict) else _fabric(part)
            for key, part in value.items()}


def _fabric(value: object) -> object:
    """The same with queues that have the keys of their own kind alone, each had those of all; and with the datapath's
    name of today."""
    if isinstance(value, list):
        return [_fabric(v) for v in value]
    return _fabric_keys(value) if isinstance(value, dict) else value


def _fabric_keys(value: Json) -> dict[str, object]:
    if set(value) == _QUEUE:
        others = {"min", "max", "ecn"} - _OF_A_KIND.get(str(value["kind"]), set())
        return {key: v for key, v in value.items() if key not in others}
    return {key: _DATAPATHS.get(v, v) if key == "datapath" and isinstance(v, str) else _fabric(v)
            for key, v in value.items()}


def _check(value: Json) -> dict[str, object]:
    return {key: metric_key(v) if key in _SUBJECTS and isinstance(v, str) else v for key, v in value.items()}


def _inventory(value: dict[str, object]) -> dict[str, object]:
    fabric = value.get("fabric")
    if not isinstance(fabric, dict) or not isinstance(fabric.get("links"), list):
        return value
    links = [{k: _renamed(v, _END) if k in ("a", "b") and isinstance(v, dict) else v for k, v in link.items()}
             if isinstance(link, dict) else link for link in fabric["links"]]
    return {**value, "fabric": {**_fabric_keys(fabric), "links": links}}


def _metric(value: object) -> object:
    """A metric's body; a prediction may be a bare number."""
    return {**value, "tag": METRICS.get(value["tag"], value["tag"])} if isinstance(value, dict) and isinstance(
        value.get("tag"), str) else value


def _renamed(value: Json, names: Mapping[str, str]) -> dict[str, object]:
    return {names.get(key, key): v for key, v in value.items()}
