"""The command line of tests/soak/soak.py."""

import argparse
import tempfile
from pathlib import Path

from tests.conftest import draw_photographs, write_tiny_weights
from tests.soak import soak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=soak.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        config = soak.configuration(draw_photographs(root, arguments.images), write_tiny_weights(root))
        result = soak.soak(config, root, arguments.kills, arguments.seed)
    print(
        f"{sum(result.kills.values())} kills {dict(result.kills)}, {result.pipelines} pipelines of {result.work:.0f} s of "
        f"work, all with the digests of the undisturbed one; {result.repeated:.1%} of the work repeated"
    )


main()
