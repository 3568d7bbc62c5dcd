"""Hydra config groups: one group a choice, one file an option. Data only, no code."""
