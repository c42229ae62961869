"""Measurements that anyone can repeat: ratios against a plain reference in the same run."""
