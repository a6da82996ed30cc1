"""What it costs to run: an hour of a fabric, a training step, a million tokens. Pure.

A cost is kept as amounts by the price that they come from, so that it is linear in each price by construction:

    hour of a fabric   = sum of parts' prices / (amortisation_years x 8760) + watts / 1000 x pue x price of a kWh
    training step      = (share x hour of the fabric + GPUs x price of a GPU-hour) x step time / 3600
    million tokens     = (share x hour of the fabric + GPUs x price of a GPU-hour) / 3600 / tokens per second x 1e6
    lost to the network, of a step = GPUs x price of a GPU-hour x (step time - ideal step) / 3600

share: the workload's hosts / all workload hosts; a host that several workloads of a phase use is divided among
them. Tokens are those of requests that met every SLO. Times and rates are real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scenarios.cost.bill import HARDWARE, Bill
from scenarios.cost.prices import HOURS, Prices

ELECTRICITY, GPU_HOUR = "electricity", "GPU-hour"
CLASSES: tuple[str, ...] = (*HARDWARE, ELECTRICITY, GPU_HOUR)      # the prices that a cost is made of
STEP, TOKENS = "training step", "million tokens"
Key = tuple[str, str, str]          # workload, phase, unit
Amounts = Mapping[str, float]       # class of price -> so much of the cost comes from it


def total(amounts: Amounts) -> float:
    return sum(amounts.values())


def scaled(amounts: Amounts, factor: float) -> dict[str, float]:
    return {name: amount * factor for name, amount in amounts.items()}


def hour_of(bill: Bill, prices: Prices) -> dict[str, float]:
    """What an hour of a fabric costs, by class of price."""
    hours = prices.amortisation_years * HOURS
    power = bill.watts / 1000 * prices.electricity.pue.value * prices.electricity.per_kwh.value
    return {**{kind: price / hours for kind, price in bill.by_kind.items()}, ELECTRICITY: power}


@dataclass(frozen=True)
class Use:
    """What a workload takes in one phase. gpus of the type `gpu`; share of the fabric, by its hosts."""

    workload: str
    phase: str
    gpu: str
    gpus: int
    share: float


@dataclass(frozen=True)
class Training(Use):
    """Real seconds of a step, and of one over a network that takes no time; None where nothing is computed."""

    step: float
    ideal: float | None

    @property
    def lost_gpu_hours(self) -> float | None:
        """Of a step, to the network."""
        return None if self.ideal is None else self.gpus * max(0.0, self.step - self.ideal) / 3600


@dataclass(frozen=True)
class Serving(Use):
    """Real output tokens per second of requests within every SLO; share of the tokens asked for that were not."""

    tokens_per_second: float
    missed_share: float


@dataclass(frozen=True)
class Cost:
    """Of one unit of work, by class of price; None where there was none, as no token within its SLO.

    lost: money of it for GPUs that waited for the network; lost_gpu_hours the same in hours.
    """

    workload: str
    phase: str
    unit: str
    amounts: Amounts | None
    lost: float | None = None
    lost_gpu_hours: float | None = None
    missed_share: float | None = None

    @property
    def key(self) -> Key:
        return self.workload, self.phase, self.unit

    @property
    def total(self) -> float | None:
        return None if self.amounts is None else total(self.amounts)


def cost_of(use: Training | Serving, hour: Amounts, gpu_hour: float) -> Cost:
    """Of a step or of a million tokens. hour: of the whole fabric; gpu_hour: price of one."""
    hourly = {**scaled(hour, use.share), GPU_HOUR: use.gpus * gpu_hour}
    if isinstance(use, Training):
        hours = use.lost_gpu_hours
        return Cost(use.workload, use.phase, STEP, scaled(hourly, use.step / 3600),
                    lost=None if hours is None else hours * gpu_hour, lost_gpu_hours=hours)
    amounts = scaled(hourly, 1e6 / 3600 / use.tokens_per_second) if use.tokens_per_second > 0 else None
    return Cost(use.workload, use.phase, TOKENS, amounts, missed_share=use.missed_share)
