"""Other ways to cut the tokens of an image into regions: the rivals of the Dynamic Clustering Network."""
