"""Adapters once they are trained: kept and verified, deployed, traced back, brought in and given away."""
