"""``proofgym new``: a package with an environment of the user's own."""

import sys

from proofgym.scaffold import write_package


def new_package(name: str, *, template: str) -> int:
    """Write the package, and print the commands that go on from there."""
    made = write_package(name, template=template)
    folder = made.folder.name
    lines = [
        *(f"  {folder}/{path}" for path in made.files),
        "",
        "Go on with:",
        f"  pip install -e ./{folder}",
        f"  proofgym audit {made.env_id}",
        f"  proofgym train {folder}/train.toml",
        f"  proofgym eval {made.env_id} --policy runs/{folder}/checkpoints/grpo",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
