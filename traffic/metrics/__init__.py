"""Metrics: pure functions of raw records, each with its unit, formula and source (see `metric.Metric`)."""
