"""One training run of the stage ``train``, and the state from which it resumes."""
