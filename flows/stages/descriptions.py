"""One sentence for each stage, in the order of the pipeline: the help of its command and of its deployment.

The command line reads this table, so this module imports nothing.
"""

DESCRIPTIONS = {
    "index": "List the photographs of a data set, and refuse unusable ones with the reason.",
    "extract": "Cache the tokens and the attention of the frozen ViT for every photograph.",
    "train": "Train the Dynamic Clustering Network on the cached tokens.",
    "segment": "Divide every photograph into regions, and choose the foreground among them.",
    "embed": "Embed the masked crop of every region with the frozen ViT.",
    "language": "Compare every patch with the names of the classes by a language-image model (CLIP).",
    "evaluate": "Measure the regions and their classes by every protocol.",
    "report": "Write a self-contained page with metrics, pictures and curves.",
}
