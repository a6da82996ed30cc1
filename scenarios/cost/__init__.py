"""What a fabric costs, and what a training step or a million tokens cost over it.

    Fabric ──real rates──> bill of materials ──prices──> price ──amortised──> cost of an hour ─┐
    run ──step time, tokens within the SLO, GPUs──> workloads ──price of a GPU-hour────────────┴─> cost of a step,
                                                                                     of a million tokens
    designs ──> ranking ──> which price would turn it, and at what factor

All of it is pure and linear in every price; docs/reference/cost.md has the formulas.
"""
