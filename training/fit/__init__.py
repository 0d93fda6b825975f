"""One training: what fits this machine, and the run itself by SFT, DPO or KTO, in one process or several."""
