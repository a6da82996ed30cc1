"""The seven invariants of a run (docs/reference/methods.md: the verdict), one module each. Pure."""
