"""The inputs of the stages: photographs, ground truth, models, and tables of earlier stages."""
