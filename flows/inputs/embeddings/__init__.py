"""Inputs of the embeddings of regions, and the embeddings as later stages read them."""
