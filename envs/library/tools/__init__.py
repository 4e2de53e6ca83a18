"""Work done by calling functions."""
