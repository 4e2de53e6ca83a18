"""Environments and tools of other projects, made into ours."""
