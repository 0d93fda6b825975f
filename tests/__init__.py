"""The tests mirror the packages: `feedback`, `training`, `bot`; `end_to_end` runs the whole."""
