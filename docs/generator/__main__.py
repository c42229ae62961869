"""Write the pages of docs/reference/ that follow from the code."""

from docs.generator import pages

for file, text in pages().items():
    file.write_text(text)
