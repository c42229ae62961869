"""What the stages read from outside the workspace: photographs, ground truth, backbones."""
