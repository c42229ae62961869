"""The pictures of the README and of the guides, made of the sample: `make pictures` writes them.

Tests compare the keys of the checkpoints that a picture shows, and the pixels of the README's picture.
"""
