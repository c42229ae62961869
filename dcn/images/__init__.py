"""Photographs and masks: reading files, decoding, colors."""
