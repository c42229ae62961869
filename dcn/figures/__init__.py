"""The figures of the paper, each a pure function of arrays."""
