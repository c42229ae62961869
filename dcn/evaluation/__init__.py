"""Metrics of regions, classes and tokens against ground truth (sections 1 and 4)."""
