"""The command line ``dcn``."""
