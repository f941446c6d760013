"""The frame of `fsbench`: results on stdout, all else on stderr, errors in one to three lines, an exit code.

Almost nothing is imported before Ctrl-C and the output are handled. The commands are in app.py.
"""

import os
import sys

from fewshot_bench.cli import INTERRUPTED


def main() -> None:
    """Run the command line and exit with its code: 0 ok, 1 failed, 2 usage, 3 data, 130 interrupted."""
    try:
        from fewshot_bench.cli import interrupts, streams

        interrupts.arrange()
    except KeyboardInterrupt:  # in these first imports
        os.write(2, b"fsbench: Interrupted.\n")
        os._exit(INTERRUPTED)
    output = streams.guard()
    code = _main(sys.argv[1:])
    if (failed := output.end()) is not None:
        code = _complain(f"Cannot write the output: {failed}.", code or 1)
    interrupts.end(code)


def _main(arguments: list[str]) -> int:
    try:
        from fewshot_bench.cli.app import call
        from fewshot_bench.errors import FewshotError, system_errors

        try:
            with system_errors():
                return call(arguments)
        except FewshotError as error:
            return _complain(str(error), error.exit_code)
        except (Exception, SystemExit) as error:
            from fewshot_bench.plugins.faults import told_fault

            if (told := told_fault(error)) is None:  # a fault of this package, whose traceback is needed
                raise
            return _complain(str(told), told.exit_code)
    except KeyboardInterrupt:
        return _complain("Interrupted.", INTERRUPTED)


def _complain(text: str, code: int) -> int:
    from fewshot_bench.text.printable import LONGEST, printable

    shown = "\n".join(printable(line, LONGEST) for line in text.split("\n"))  # a record or a file's name may stand in it
    print(f"fsbench: {shown}", file=sys.stderr)
    return code
