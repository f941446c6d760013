"""Whether this process still holds the run that it was started for.

A sweep claims a run by a folder `claim-N` that only one process can make, and names it to the process that computes the run.
Whoever takes the run over makes `claim-N+1`. From then on the former owner, whatever kept it, may write nothing.
"""

import os
import re
from pathlib import Path

VARIABLE = "FSBENCH_CLAIM"
"""The environment variable that names a claim: `TOKEN@FOLDER`."""
OWNER = "owner.json"
_NAME = re.compile(r"claim-([1-9][0-9]{0,8})")


def numbers(folder: Path) -> list[int]:
    """The numbers of the claims in a folder, in ascending order; raises `OSError`."""
    return sorted(int(found[1]) for entry in os.scandir(folder) if (found := _NAME.fullmatch(entry.name)))


def is_held(claim: Path, token: str) -> bool:
    """Whether a claim is the latest of its run and of the owner who has that token; False where that cannot be read."""
    try:
        owned = f'"{token}"' in (claim / OWNER).read_text(encoding="utf-8")
        return owned and claim.name == f"claim-{numbers(claim.parent)[-1]}"
    except (OSError, IndexError):
        return False


def is_lost() -> bool:
    """Whether this process was started for a run that another has taken over since."""
    token, _, claim = os.environ.get(VARIABLE, "").partition("@")
    return bool(claim) and not is_held(Path(claim), token)
