"""Export of regions and classes to files of other programs; :mod:`flows.cli.export.formats` lists them."""

from flows.cli.export.labels import export_labels

__all__ = ["export_labels"]
