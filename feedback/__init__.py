"""The record: what was asked, answered, voted and decided. Imports neither `training` nor `bot`."""
