"""The commands of `aifab`, one module each; scenarios/cli.py puts them together."""
