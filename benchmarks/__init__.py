"""Measurements that anyone can repeat: ratios against a plain reference in the same run."""

import dcn  # noqa: F401 - before PyTorch, to which it says how to wait
