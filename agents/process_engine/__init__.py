"""A transformers engine in a process of its own."""

from proofgym.agents.process_engine.engine import ProcessEngine

__all__ = ["ProcessEngine"]
