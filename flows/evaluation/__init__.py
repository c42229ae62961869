"""The evaluation: the interface of a protocol, one module for each protocol, and typed results."""
