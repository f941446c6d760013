"""The hash of a method's source: an edited method is another method, one with a better comment is not."""

import hashlib
import inspect
import io
import linecache
import sys
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NOT_HASHED = {"fewshot_bench", "torch", *sys.stdlib_module_names}
"""Top-level modules whose versions a record names."""


def source_sha256(*objects: Any) -> str:
    """Hash of the code that defines the given classes and those that they inherit from, so that an edited method is another
    method: of their files, without comments, docstrings and blank lines. What they import besides is not in it, nor are the
    core's own bases: a record names its version."""
    return hash_of_code(map(_text, source_files(*objects)))


def source_files(*objects: Any) -> list[str]:
    """The files that define the given classes and those outside the core that they inherit from."""
    paths: dict[str, None] = {}  # ordered, each once
    for one in objects:
        classes = inspect.getmro(one) if inspect.isclass(one) else [one if inspect.isfunction(one) else type(one)]
        own = [cls for cls in classes if cls.__module__.partition(".")[0] not in NOT_HASHED]
        paths |= dict.fromkeys(_file(cls) for cls in own or classes[:1])
    return list(paths)


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8") if Path(path).is_file() else "".join(linecache.getlines(path))


def _file(one: Any) -> str:
    """The file that defines a class or function; of a class of a notebook the cell, which `linecache` holds."""
    if one.__module__ == "__main__":
        return next(part.__code__.co_filename for part in vars(one).values() if inspect.isfunction(part))
    return str(inspect.getsourcefile(one))


def hash_of_code(sources: Iterable[str]) -> str:
    """Hash of Python sources, the same whatever their comments, docstrings and blank lines say."""
    sha = hashlib.sha256()
    for source in sources:
        sha.update(_code(source).encode())
    return sha.hexdigest()


def _code(source: str) -> str:
    """The lines of a Python source that do something; the same under every version of Python, whose tokens differ."""
    lines = source.split("\n")
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type != tokenize.NL]
    words = [token for token in tokens if token.type == tokenize.COMMENT]
    tokens = [token for token in tokens if token.type != tokenize.COMMENT]
    starts = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    for before, token, after in zip([None, *tokens], tokens, tokens[1:], strict=False):
        alone = (before is None or before.type in starts) and after.type == tokenize.NEWLINE
        if token.type == tokenize.STRING and alone:
            words.append(token)
    for token in sorted(words, key=lambda token: token.start, reverse=True):
        (first, left), (last, right) = token.start, token.end
        lines[first - 1 : last] = [lines[first - 1][:left] + lines[last - 1][right:]]
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())
