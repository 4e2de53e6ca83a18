"""What a machine offers for GPU work, what is wrong with it, and what helps."""

from proofgym.gpu_doctor.facts import GpuFacts, gather
from proofgym.gpu_doctor.findings import Finding, examine

__all__ = ["Finding", "GpuFacts", "examine", "gather"]
