"""Write a package with an environment in it."""

from proofgym.scaffold.package import TEMPLATES, NewPackage, write_package

__all__ = ["TEMPLATES", "NewPackage", "write_package"]
