"""The figures of the paper and of the report. Each is a pure function of arrays."""
