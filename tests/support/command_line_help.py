"""The help of every command, as `docs/reference/command-line.md` shows it.

`python tests/support/command_line_help.py` writes it.
"""

import re
from pathlib import Path

from command_line import call

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
START, END = "<!-- help -->\n", "<!-- end of help -->\n"
COMMANDS = (
    *("run", "sweep", "watch", "test", "table", "compare", "power", "explain", "show", "bench"),
    *("check", "verify", "reproduce", "pack", "unpack"),
    *("list methods", "list datasets", "list backbones", "list runs"),
    *("data list", "data get", "data import", "data verify", "data preview"),
    *("leaderboard build", "leaderboard reproduction", "leaderboard methods", "leaderboard check"),
)


def help_of_all() -> str:
    """A heading and a block for each command."""
    return "".join(f"\n### `fsbench {command}`\n```text\n{help_of(command)}\n```\n" for command in COMMANDS) + "\n"


def help_of(command: str) -> str:
    """What `--help` prints, without empty lines at its ends."""
    said = call(*command.split(), "--help")
    return re.sub(r"[ \t]+$", "", said.out, flags=re.MULTILINE).strip("\n")


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    PAGE.write_text(before + START + help_of_all() + END + rest.partition(END)[2], encoding="utf-8")
