"""Compiled arithmetic for CPU and CUDA; every kernel has a plain reference in a test."""
