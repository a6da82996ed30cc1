"""What designs cost: bills against a count by hand, costs that are linear in every price, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from scenarios.cli import app
from scenarios.cost import designs, sensitivity
from scenarios.cost.bill import bill_of
from scenarios.cost.prices import PRICES, Prices, load_prices
from scenarios.cost.running import CLASSES, GPU_HOUR, Serving, Training, cost_of, hour_of, total
from scenarios.cost.summary import sentences
from scenarios.evidence.results import RunDirectory
from scenarios.spec.scenario import Scenario
from tests.examples import examples
from tests.unit import run_factory
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.spec import BorderSpec, FabricSpec, ScaleSpec
from topologies.model.units import parse_rate

AS = parse_rate("400gbit")
JOB = Training("job", "main", "h100", 8, 1.0, step=10.0, ideal=4.0)
CHAT = Serving("chat", "main", "h100", 7, 0.5, tokens_per_second=1000.0, missed_share=0.25)
amounts = st.dictionaries(st.sampled_from(CLASSES), st.floats(0.01, 1e3), min_size=1)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load_prices()


@pytest.fixture(scope="module")
def small() -> Fabric:
    return expand(FabricSpec())


def changed(prices: Prices, **keys: Any) -> Prices:
    """With some keys otherwise, checked like a file."""
    return Prices.model_validate({**prices.model_dump(mode="json"), **_plain(prices), **keys})


def _plain(prices: Prices) -> dict[str, Any]:
    """Lengths as they are written."""
    body = prices.model_dump(mode="json")
    runs = {k: {**run, "length": f"{run['length']:g}m"} for k, run in body["cabling"].items()}
    return {"cabling": runs, "cables": [{**c, "reach": f"{c['reach']:g}m"} for c in body["cables"]]}


def counted(fabric: Fabric, prices: Prices) -> dict[tuple[str, str], int]:
    return {(line.kind, line.part): line.quantity for line in bill_of(fabric, prices, AS).lines}


# ---- the bill

def test_a_leaf_spine_fabric_is_made_of_what_one_counts_by_hand(prices: Prices, small: Fabric) -> None:
    assert counted(small, prices) == {      # 8 hosts at 400; an uplink carries 2 hosts' 400, so it is one of 800
        ("switch port", "400 Gbit/s"): 8, ("switch port", "800 Gbit/s"): 4 * 2,
        ("optic", "800 Gbit/s"): 4 * 2, ("cable", "fibre, up to 100 m"): 4,
        ("cable", "400 Gbit/s dac, up to 3 m"): 8, ("NIC", "400 Gbit/s"): 8}


def test_probes_cost_nothing(prices: Prices, small: Fabric) -> None:
    assert bill_of(small, prices, AS) == bill_of(expand(FabricSpec(probes=False)), prices, AS)


def test_a_rail_needs_optics_where_a_rack_needs_none(prices: Prices) -> None:
    rails = counted(expand(load_fabric("rails")), prices)
    assert rails["optic", "400 Gbit/s"] == 2 * 16
    assert not any(kind == "cable" and "dac" in part for kind, part in rails)


def test_oversubscription_saves_ports_and_optics(prices: Prices) -> None:
    by_ratio = [bill_of(expand(FabricSpec(oversubscription=r)), prices, AS).price for r in (1, 2, 4)]
    assert by_ratio == sorted(by_ratio, reverse=True)
    assert len(set(by_ratio)) == 3


def test_an_uplink_beyond_the_largest_port_takes_several(prices: Prices) -> None:
    wide = counted(expand(FabricSpec(spines=1, hosts_per_leaf=8)), prices)     # 3,200 Gbit/s
    assert wide["switch port", "800 Gbit/s"] == 2 * 4 * 2


def test_a_border_is_ours_up_to_its_port(prices: Prices, small: Fabric) -> None:
    border = expand(FabricSpec(border=BorderSpec(hosts=2, rate="10mbit")))
    with_border, without = counted(border, prices), counted(small, prices)
    assert with_border["NIC", "400 Gbit/s"] == without["NIC", "400 Gbit/s"]
    assert with_border["optic", "400 Gbit/s"] == 2 + 2 * 2      # to the outside, and at both ends of two uplinks
    assert with_border["cable", "fibre, up to 100 m"] == without["cable", "fibre, up to 100 m"] + 2


def test_a_scaled_fabric_is_priced_in_its_real_units(prices: Prices) -> None:
    real = bill_of(expand(FabricSpec(host_rate="400gbit", scale=ScaleSpec(rate=1 / 40000))), prices)
    assert real == bill_of(expand(FabricSpec()), prices, AS)


# ---- what is refused

def test_a_fabric_in_emulated_units_is_not_priced_as_if_it_were_sold(prices: Prices, small: Fabric) -> None:
    with pytest.raises(SpecError, match=r"h1 at 10 Mbit/s\n.*--as 400gbit"):
        bill_of(small, prices)


def test_as_is_for_fabrics_without_a_scale(prices: Prices) -> None:
    with pytest.raises(SpecError, match="written in real units"):
        bill_of(expand(load_fabric("scaled400g")), prices, AS)


def test_every_missing_part_is_named_at_once_with_who_needs_it_and_what_is_nearest(
        prices: Prices, small: Fabric) -> None:
    body = prices.model_dump(mode="json")
    lacking = changed(prices, optics=[p for p in body["optics"] if p["rate"] != "800000000000.0bit"], nics=[])
    with pytest.raises(SpecErrors) as caught:
        bill_of(small, lacking, AS)
    text = str(caught.value)
    assert len(caught.value.errors) == 2
    assert "optics: expected an optic of 800 Gbit/s, which link leaf1-spine1 needs; found 100 Gbit/s, 200" in text
    assert "the nearest is 400 Gbit/s" in text
    assert "nics: expected a NIC of 400 Gbit/s, which link h1-leaf1 needs; found none" in text


def test_a_cable_that_does_not_reach_is_missing(prices: Prices, small: Fabric) -> None:
    cabling = _plain(prices)["cabling"] | {"access": {"media": "dac", "length": "5m"}}
    with pytest.raises(SpecErrors, match=r"a dac of 400 Gbit/s that reaches 5 m.*dac of 400 Gbit/s up to 3 m"):
        bill_of(small, changed(prices, cabling=cabling), AS)


def test_a_gpu_without_a_price_is_refused_by_name(prices: Prices) -> None:
    with pytest.raises(SpecError, match=r"an hour of h10, which workload job needs; found h100.*\n.*h100\?"):
        prices.gpu_hour("h10", "workload job")


@pytest.mark.parametrize(("old", "new", "said"), [
    ("value: 390,", "value: -390,", r"switch_ports.0.price.value: expected a number of at least 0; found -390"),
    ("date: 2026-05", "date: lately", r"gpu_hours.0.price.date: .*found lately"),
    ("optics: ", "optcs: ", r"optcs: (?s:.*)did you mean optics"),
    ("length: 3m", "length: 3", r"cabling.access.length: expected a length in m, such as 3m; found 3"),
    ("{media: dac, rate: 100gbit,", "{media: dac,", r"cables.0.*expected a rate with media: dac"),
    ("- rate: 200gbit\n    price: {value: 780", "- rate: 100gbit\n    price: {value: 780",
     r"switch_ports.1: .*each part once"),
    ("amortisation_years: 4 ", "amortisation_years: 0 ", r"amortisation_years: expected a number above 0; found 0"),
])
def test_a_wrong_price_file_is_reported_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (PRICES / "typical.yml").read_text()
    assert old in text
    path = tmp_path / "mine.yml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(LabError, match=rf"mine.yml:\d+ {said}"):
        load_prices(str(path))


def test_every_figure_of_the_ready_file_has_a_source_and_says_so_where_it_is_assumed(prices: Prices) -> None:
    assert any(f.assumed for f in prices.figures)
    assert all(f.source.strip() and f.date for f in prices.figures)
    assert not any(f.source == "none" for f in prices.figures)


# ---- costs

def test_an_hour_of_a_fabric_is_its_price_over_its_life_and_its_power(prices: Prices, small: Fabric) -> None:
    bill = bill_of(small, prices, AS)
    hour = hour_of(bill, prices)
    assert total(hour) == pytest.approx(bill.price / (4 * 8760) + bill.watts / 1000 * 1.3 * 0.11)


def test_a_step_costs_its_gpus_and_its_fabric_for_as_long_as_it_takes() -> None:
    found = cost_of(JOB, {"optic": 7.2}, 3.0)
    assert found.total == pytest.approx((7.2 + 8 * 3) * 10 / 3600)
    assert found.lost == pytest.approx(8 * 3 * 6 / 3600)
    assert found.lost_gpu_hours == pytest.approx(8 * 6 / 3600)


def test_a_million_tokens_within_the_slo_bear_what_the_others_cost() -> None:
    found = cost_of(CHAT, {"optic": 7.2}, 3.0)
    assert found.total == pytest.approx((0.5 * 7.2 + 7 * 3) / 3600 / 1000 * 1e6)
    assert cost_of(Serving("chat", "main", "h100", 7, 0.5, 0.0, 1.0), {}, 3.0).total is None


def test_a_network_that_takes_no_time_costs_its_price_only() -> None:
    ideal = Training("job", "main", "h100", 8, 1.0, step=4.0, ideal=4.0)
    assert cost_of(ideal, {"optic": 7.2}, 3.0).lost == 0
    assert cost_of(ideal, {"optic": 7.2}, 0.0).total == pytest.approx(7.2 * 4 / 3600)
    assert cost_of(ideal, {}, 3.0).total == pytest.approx(8 * 3 * 4 / 3600)


@given(hour=amounts, price=st.sampled_from(CLASSES), factor=st.floats(0, 100), gpu_hour=st.floats(0.01, 100))
def test_every_cost_is_linear_in_every_price(hour: dict[str, float], price: str, factor: float,
                                             gpu_hour: float) -> None:
    hour = {k: v for k, v in hour.items() if k != GPU_HOUR}
    for use in (JOB, CHAT):
        now = cost_of(use, hour, gpu_hour)
        then = cost_of(use, {k: v * factor if k == price else v for k, v in hour.items()},
                       gpu_hour * factor if price == GPU_HOUR else gpu_hour)
        assert now.amounts is not None
        assert then.total == pytest.approx((now.total or 0) + (factor - 1) * now.amounts.get(price, 0.0), abs=1e-9)


# ---- rankings

@examples(50)
@given(st.dictionaries(st.sampled_from("abcd"), amounts, min_size=2))
def test_at_a_turn_two_designs_cost_the_same_and_beyond_it_the_order_is_another(
        found: dict[str, dict[str, float]]) -> None:
    ranked = sensitivity.ranking("step", found)
    first = ranked.order[0]
    assert list(ranked.costs.values()) == sorted(ranked.costs.values())
    for s in ranked.sensitivities:
        for turn, beyond in ((s.down, 0.5), (s.up, 2.0)):
            if turn is None:
                continue
            at = {n: total(a) + (turn.factor - 1) * a.get(s.price, 0.0) for n, a in found.items()}
            assert at[turn.design] == pytest.approx(at[first], rel=1e-6, abs=1e-6)
            then = {n: total(a) + (beyond * turn.factor - 1) * a.get(s.price, 0.0) for n, a in found.items()}
            assert then[turn.design] <= then[first] * (1 + 1e-9)


@examples(50)
@given(st.dictionaries(st.sampled_from("abcd"), amounts, min_size=2), st.sampled_from(CLASSES))
def test_between_the_turns_nothing_else_is_cheapest(found: dict[str, dict[str, float]], price: str) -> None:
    ranked = sensitivity.ranking("step", found)
    s = next((s for s in ranked.sensitivities if s.price == price), None)
    if s is None:
        return
    low, high = (s.down.factor if s.down else 0.0), (s.up.factor if s.up else 100.0)
    middle = (low + min(high, 100.0)) / 2
    costs = {n: total(a) + (middle - 1) * a.get(price, 0.0) for n, a in found.items()}
    assert costs[ranked.order[0]] <= min(costs.values()) * (1 + 1e-6) + 1e-9


def test_the_sentence_inverts_with_the_costs() -> None:
    one, other = {"optic": 1.0, GPU_HOUR: 5.0}, {"optic": 4.0, GPU_HOUR: 4.0}
    there = sentences(sensitivity.ranking("a training step of job", {"flat": one, "split": other}), "USD")
    back = sentences(sensitivity.ranking("a training step of job", {"flat": other, "split": one}), "USD")
    assert there[0] == "By the cost of a training step of job, flat is cheapest: 6 USD, 25 % less than split."
    assert back[0] == there[0].replace("flat", "x").replace("split", "flat").replace("x", "split")
    assert there[1:] == ["Half or double of any one price does not change that.",
                         "It would change with optic at 0.333 times today's price (split first); "
                         "with GPU-hour at 3 times today's price (split first)."]


def test_designs_that_cost_the_same_are_not_ranked_in_words() -> None:
    found = sensitivity.ranking("step", {"a": {"optic": 1.0}, "b": {"optic": 1.001}})
    assert sentences(found, "USD") == ["By the cost of step, a and b do not differ: 1 USD."]


# ---- runs

def job_run(base: Path, level: str = "VALID", step: float = 12.0, size: str = "8MB", **fabric: Any) -> RunDirectory:
    ring = {**run_factory.RING, "size": size, "compute": "2s"}
    spec = run_factory.scenario(fabric={"host_rate": "10mbit", **fabric}, workloads={"ring": ring})
    metrics = {"ring.step_time": {"value": step, "unit": "s"}, "ring.ideal_step": {"value": 2.0, "unit": "s"}}
    return run_factory.make(base, spec, metrics=metrics, verdict=run_factory.verdict(level))


def test_a_run_costs_what_its_metrics_and_its_fabric_say(tmp_path: Path, prices: Prices) -> None:
    found = designs.of_run(job_run(tmp_path), prices, AS)
    cost = found.costs["ring", "main", "training step"]
    assert cost.total == pytest.approx((total(found.hour) + 8 * 3.0) * 12 / 3600)
    assert cost.lost == pytest.approx(8 * 3.0 * 10 / 3600)


def test_times_of_a_scaled_run_are_real_ones(tmp_path: Path, prices: Prices) -> None:
    run = job_run(tmp_path, host_rate="400gbit", scale={"rate": "1/40000", "size": "1/1000"})
    metrics = run.read("metrics") or {}
    for metric in metrics.values():
        metric["real"] = metric["value"] / 40
    run.write("metrics", metrics)
    assert designs.of_run(run, prices).costs["ring", "main", "training step"].lost == pytest.approx(
        8 * 3.0 * 10 / 40 / 3600)


def test_tokens_are_those_within_the_slo_and_hosts_share_the_fabric(prices: Prices) -> None:
    scenario = Scenario.model_validate({
        "name": "both", "question": "What do both cost?", "fabric": {"host_rate": "10mbit"}, "workloads": {
            "ring": {**run_factory.RING, "ranks": 4, "placement": ["h1", "h2", "h5", "h6"]},
            "chat": {"kind": "serving", "rate": 1, "requests": 3, "clients": ["h8"], "gateway": "h3", "gpus": 2,
                     "replicas": ["h4", "h7"], "gpu": "l40s", "kv_memory": "1GB"}}})
    metrics = {"ring.step_time": {"value": 5.0}, "chat.token_goodput": {"value": 200.0},
               "chat.token_slo_attainment": {"value": 0.75}}
    found = designs.Priced("both", scenario, prices, AS).design(metrics)
    chat, ring = found.costs["chat", "main", "million tokens"], found.costs["ring", "main", "training step"]
    hour = total(found.hour)
    assert chat.total == pytest.approx((3 / 8 * hour + 4 * 1.86) / 3600 / 200 * 1e6)
    assert chat.missed_share == pytest.approx(0.25)
    assert ring.total == pytest.approx((4 / 8 * hour + 4 * 3.0) * 5 / 3600)
    assert ring.lost is None        # nothing is computed: no GPU waits


def cost_of_chat(prices: Prices, **keys: Any) -> tuple[float, float]:
    """(share of the fabric, GPUs) that a million tokens are charged for, at 1 token a second."""
    scenario = Scenario.model_validate({
        "name": "chat", "question": "What does it cost?", "fabric": {"host_rate": "10mbit"}, "workloads": {
            "chat": {"kind": "serving", "rate": 1, "requests": 3, "clients": ["h8"], "gateway": "h1", **keys}}})
    found = designs.Priced("chat", scenario, prices, AS).design({"chat.token_goodput": {"value": 1.0}})
    (cost,) = found.costs.values()
    amounts = {name: amount * 3600 / 1e6 for name, amount in (cost.amounts or {}).items()}
    gpus = amounts.pop(GPU_HOUR) / prices.gpu_hour("h100", "chat").value
    return sum(amounts.values()) / total(found.hour), gpus


@pytest.mark.parametrize(("keys", "hosts", "gpus"), [
    ({"replicas": ["h2", "h3"], "gpus": 2}, 3, 4),
    ({"replicas": ["h2", "h3", "h4", "h5"], "tensor": 4}, 5, 4),
    ({"replicas": ["h2", "h3", "h4", "h5"], "tensor": 2, "gpus": 4}, 5, 16),
    ({"replicas": ["h2", "h3", "h4", "h5", "h6", "h7"], "pipeline": 2}, 7, 6),
    ({"replicas": ["h2"], "decode": ["h3", "h4"]}, 4, 3),
    ({"replicas": ["h2", "h3"], "store": {"hosts": ["h4", "h5"], "size": "40GB"}, "gpu_cache": "1GB"}, 5, 2),
    ({"replicas": ["h2"], "agent": {"hosts": ["h3"], "tools": {"web": {"hosts": ["h4", "h5"]}}}}, 5, 1),
])
def test_every_host_that_serves_is_charged_and_every_workers_gpus(
        prices: Prices, keys: dict[str, Any], hosts: int, gpus: int) -> None:
    assert cost_of_chat(prices, **keys) == pytest.approx((hosts / 8, gpus))


def test_a_shared_host_is_divided_among_those_who_share_it(prices: Prices) -> None:
    ring = {**run_factory.RING, "ranks": 4, "placement": ["h1", "h2", "h5", "h6"]}
    scenario = Scenario.model_validate({"name": "two", "question": "Two?", "fabric": {"host_rate": "10mbit"},
                                        "workloads": {"a": ring, "b": ring}})
    found = designs.Priced("two", scenario, prices, AS).design({f"{n}.step_time": {"value": 5.0} for n in "ab"})
    for cost in found.costs.values():
        assert cost.total == pytest.approx((2 / 8 * total(found.hour) + 4 * 3.0) * 5 / 3600)


def test_runs_are_ranked_by_their_work_and_what_may_not_be_used_is_left_out(tmp_path: Path, prices: Prices) -> None:
    runs = [job_run(tmp_path, step=12.0), job_run(tmp_path, step=14.0, oversubscription=4),
            job_run(tmp_path, "INVALID", step=1.0)]
    found = [designs.of_run(run, prices, AS) for run in runs]
    assert "is INVALID" in designs.left_out(found)[0]
    hour, step = designs.rankings(found)
    assert (hour.what, step.what) == (designs.HOUR, "a training step of ring in phase main")
    assert step.order == (found[0].name, found[1].name)
    assert hour.order[0] == found[1].name      # the cheaper fabric is the dearer design: GPUs wait


def test_different_work_is_not_ranked(tmp_path: Path, prices: Prices) -> None:
    found = [designs.of_run(job_run(tmp_path, size=size), prices, AS) for size in ("8MB", "4MB")]
    assert designs.rankings(found) == []        # nor is a fabric ranked against itself
    assert "did not do the same work" in designs.left_out(found)[0]


def test_runs_of_different_scale_are_refused(tmp_path: Path, prices: Prices) -> None:
    real: dict[str, Any] = {"host_rate": "400gbit", "scale": {"rate": "1/40000"}}
    found = [designs.of_run(job_run(tmp_path), prices, AS), designs.of_run(job_run(tmp_path, **real), prices)]
    with pytest.raises(SpecError, match="runs of one scale"):
        designs.check_together(found)


# ---- the command

def cost(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["cost", *arguments])


def test_the_command_prints_tables_and_json(tmp_path: Path) -> None:
    runs = [str(job_run(tmp_path, step=s, spines=n).path) for s, n in ((12.0, 2), (11.0, 4))]
    shown = cost(*runs, "--as", "400gbit")
    assert shown.exit_code == 0, shown.output
    assert "is cheapest" in shown.output
    reported = json.loads(cost(*runs, "--as", "400gbit", "--json").output)
    assert [d["run"] for d in reported["designs"]] == [Path(r).name for r in runs]
    bill = reported["designs"][0]["bill"]
    assert reported["designs"][0]["price"] == pytest.approx(sum(line["total"] for line in bill))
    assert all(line["price"]["source"] and line["price"]["date"] for line in bill)
    assert reported["rankings"][1]["sensitivities"]


@pytest.mark.parametrize(("arguments", "said"), [
    (("smal",), r"did you mean small\?"),
    (("small", "--as", "400"), "--as: expected a number with a unit"),
    (("small", "--prices", "typicl"), r"did you mean typical\?"),
    (("small", "small", "--as", "400gbit"), "small twice"),
])
def test_wrong_usage_is_reported(arguments: tuple[str, ...], said: str) -> None:
    result = cost(*arguments)
    assert isinstance(result.exception, LabError)
    assert result.exception.exit_code == 2
    assert re.search(said, str(result.exception))


def test_what_was_run_cannot_be_changed(tmp_path: Path) -> None:
    result = cost(str(job_run(tmp_path).path), "--set", "spines=4")
    assert "cannot be changed any more" in str(result.exception)


def test_a_run_without_metrics_is_refused(tmp_path: Path, prices: Prices) -> None:
    run = run_factory.make(tmp_path, status="failed")
    with pytest.raises(SpecError, match=r"a run that has its metrics; found one that is failed"):
        designs.of_run(run, prices, AS)
