"""RL recipes for LLM reasoning on stock verl."""

__version__ = "0.1.0"
