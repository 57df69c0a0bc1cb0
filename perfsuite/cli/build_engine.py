"""Owns `perfsuite build-engine`: TensorRT engines for --perf-engine-dir."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.cli.parser import count
from perfsuite.core.options import DEFAULT_PROMPT_LENGTHS, Options, parse_lengths
from perfsuite.core.workload import ModelSpec

if TYPE_CHECKING:
    from perfsuite.cli.parser import Commands

DEFAULT_POSITIONS = max(DEFAULT_PROMPT_LENGTHS) + Options().output_tokens


def add_to(commands: "Commands") -> None:
    """Add the command and its arguments."""
    about = "build the TensorRT engines that --perf-engine-dir names: one folder, one model, any number of shapes"
    own = commands.add_parser("build-engine", help=about, description=about)
    own.set_defaults(run=run, tells_broken=False)
    own.add_argument("--model", required=True, metavar="NAME", help="preset, Hugging Face id or local folder")
    own.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder that is to hold the engines")
    own.add_argument("--dtype", default="auto", help="as --perf-dtype")
    own.add_argument("--batch-size", default="1", metavar="LIST", help="batch sizes, e.g. 1,4 (default: 1)")
    own.add_argument(
        "--positions",
        type=count,
        default=DEFAULT_POSITIONS,
        metavar="N",
        help=f"longest prompt and output together, rounded up to 64 (default: {DEFAULT_POSITIONS})",
    )
    own.add_argument("--revision", metavar="REV", help="as --perf-revision")
    own.add_argument("--load-format", default="auto", metavar="FORMAT", help="as --perf-load-format")
    own.add_argument("--trust-remote-code", action="store_true", help="as --perf-trust-remote-code")
    own.add_argument("--device", default="auto", help="as --perf-device")


def run(arguments: argparse.Namespace) -> int:
    """Build what is missing in the folder and name each engine."""
    from perfsuite.strategies.tensorrt import build_folder

    spec = ModelSpec(
        name=arguments.model,
        revision=arguments.revision,
        dtype=arguments.dtype,
        load_format=arguments.load_format,
        trust_remote_code=arguments.trust_remote_code,
        device=arguments.device,
    )
    batch_sizes = parse_lengths(arguments.batch_size, where="--batch-size")
    for built in build_folder(spec, batch_sizes, arguments.positions, arguments.output.expanduser().absolute()):
        sys.stdout.write(f"{built}\n")
    return 0
