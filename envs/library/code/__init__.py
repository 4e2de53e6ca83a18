"""Programs to write and to mend."""
