"""Sandboxes on another host: a server around a pool, a client, and SandboxFusion's servers."""
