"""Owns the command `perfsuite`: what can be done without pytest, with stored baselines, reports, histories and engines.

Exit codes: 0 all is well, 1 a regression (`selftest`: the gate was wrong in real sessions), 2 the command could not be
carried out as it was given, 3 nothing red, but not everything could be decided or believed.
"""

from collections.abc import Sequence

from perfsuite.cli import build_engine, compare, history, merge, selftest, show
from perfsuite.cli.parser import BROKEN, INTERRUPTED, UNUSABLE, Parser
from perfsuite.cli.terminal import complain
from perfsuite.core.errors import BaselineError, PerfsuiteError

COMMANDS = (selftest, compare, show, merge, history, build_engine)

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code. What goes wrong is one line on standard error."""
    parser = Parser(prog="perfsuite", description="performance regressions of LLM inference")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except PerfsuiteError as error:
        complain(str(error), arguments.command)
        return BROKEN if isinstance(error, BaselineError) and arguments.tells_broken else UNUSABLE
    except KeyboardInterrupt:
        complain("interrupted", arguments.command)
        return INTERRUPTED
    return code
