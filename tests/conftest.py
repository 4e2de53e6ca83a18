"""What all tests share."""

from hypothesis import settings

# a busy machine runs an example late without being wrong
settings.register_profile("proofgym", deadline=None)
settings.load_profile("proofgym")
