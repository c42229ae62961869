"""Where pretrained weights come from: presets, timm's hub, files, packages."""
