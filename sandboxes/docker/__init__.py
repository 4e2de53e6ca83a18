"""The docker backend: one container a sandbox, with one long-lived agent at the end of a socket."""
