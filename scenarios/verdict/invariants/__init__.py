"""The seven invariants of a run (docs/methods.md: the verdict), one module each: Evidence in, Check out. Pure."""
