"""The documentation: Markdown pages, and the generator of the pages that follow from the code."""
