"""The proof: what becomes of poisoned and of honest data on the way from approvals to a verdict.

`python -m tests.proof --help`, by hand: every cell trains the real default model. A poison is a pure function
(`poisons`), a cell a source of rows with its poison (`cells`), `trial` sends one cell's rows through the real
record, dataset, training, examination and gate, and `table` counts what came of all of them.
"""
