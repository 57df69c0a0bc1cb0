"""Owns the command `perfsuite`: what can be done without pytest, with stored baselines, reports, histories and engines.

Exit codes: 0 all is well, 1 a regression (`selftest`: the gate was wrong in real sessions), 2 the command could not be
carried out as it was given, 3 nothing red, but not everything could be decided or believed; 141 nobody read to the end
what it wrote (`perfsuite compare … | head`).
"""

import argparse
import sys
from collections.abc import Sequence

from perfsuite.cli import build_engine, compare, history, merge, selftest, show
from perfsuite.cli.parser import BROKEN, INTERRUPTED, UNREAD, UNUSABLE, Parser
from perfsuite.cli.terminal import be_forgiving, complain, go_silent
from perfsuite.core.errors import BaselineError, PerfsuiteError
from perfsuite.disk import explain

COMMANDS = (selftest, compare, show, merge, history, build_engine)

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code. What goes wrong is one line on standard error."""
    be_forgiving()
    parser = Parser(prog="perfsuite", description="performance regressions of LLM inference")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    try:
        try:
            return _run(parser.parse_args(argv))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        go_silent()
        return UNREAD
    except OSError as error:  # of the output itself, or of a path that not even its existence can be asked of
        complain(f"{error.filename or 'standard output'}: {explain(error)}")
        go_silent()
        return UNUSABLE


def _run(arguments: argparse.Namespace) -> int:
    try:
        code: int = arguments.run(arguments)
    except PerfsuiteError as error:
        complain(str(error), arguments.command)
        return BROKEN if isinstance(error, BaselineError) and arguments.tells_broken else UNUSABLE
    except KeyboardInterrupt:
        complain("interrupted", arguments.command)
        return INTERRUPTED
    return code
