"""Write the pictures of the README and of the guides: `python -m docs.pictures`."""

import sys

from flows.execution.process import prepare_process

prepare_process()

from docs.pictures.drawing import write_all  # noqa: E402 - PyTorch comes after the process is prepared

write_all(sys.argv[1] if len(sys.argv) > 1 else "workspace")
