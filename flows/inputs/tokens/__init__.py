"""Tokens and photographs in batches, as the stages read them."""
