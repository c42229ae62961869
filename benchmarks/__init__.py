"""Measurements that anyone can repeat: ratios against a plain reference in the same run."""

from flows.execution.process import prepare_process

prepare_process()  # as in the processes of the command line, and before PyTorch is imported
