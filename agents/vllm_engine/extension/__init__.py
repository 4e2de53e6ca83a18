"""What runs in vLLM's own Python. This folder is put on its PYTHONPATH; proofgym is not."""
