"""The stages, what runs them, and the command line."""

import dcn  # noqa: F401 - before PyTorch, to which it says how to wait
