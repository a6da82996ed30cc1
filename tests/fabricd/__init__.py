"""The fabric engine's C under test: built with sanitizers, driven by commands, without devices and without a clock."""
