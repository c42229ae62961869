"""The command line of tests/soak/soak.py."""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.conftest import draw_photographs, write_tiny_weights
from tests.slurm import serve_slurm
from tests.soak import soak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=soak.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slurm", action="store_true")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = soak.configuration(draw_photographs(root, arguments.images), write_tiny_weights(root))
        victims = soak.SlurmJobs(stack.enter_context(serve_slurm()), root) if arguments.slurm else None
        result = soak.soak(config, root, arguments.kills, arguments.seed, victims)
    print(
        f"{sum(result.kills.values())} kills {dict(result.kills)}, {result.pipelines} pipelines of {result.work:.0f} s of "
        f"work, all with the digests of the undisturbed one; {result.repeated:.1%} of the work repeated"
    )


main()
