"""A request as a command, and the request that a record was made by."""

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fewshot_bench.errors import UsageError
from fewshot_bench.plugins.registry import is_uninstalled
from fewshot_bench.results.rerun_command import ELSEWHERE, Asked, run_options
from fewshot_bench.runs.requests.request import Request, TestRequest
from fewshot_bench.text.printable import printable

PLAIN = re.compile(r"(?!.*[.]ya?ml$)[\w.@+-]+")
"""A name that is no path, nor a recipe's file."""


def reproduce_command(
    request: Request, seeds: str | None = None, out: Path | None = None, on_existing: str = "reuse"
) -> str:
    """The command that carries out this request here, for all of `seeds` where they are given."""
    options = {
        "--method": request.method,
        "--dataset": request.dataset,
        "--test-dataset": request.test_dataset,
        "--test-data-root": request.test_data_root,
        "--ways": request.ways,
        "--shots": request.shots,
        "--protocol": request.protocol,
        "--queries": request.queries,
        "--episodes": request.episodes,
        "--recipe": request.recipe,
        "--images": request.images,
        "--backbone": request.backbone,
        "--seeds": request.seed if seeds is None else seeds,
        "--device": None if request.device == "auto" else request.device,
        "--threads": request.threads,
        "--data-root": request.data_root,
        "--out": out,
        "--on-existing": None if on_existing == "reuse" else on_existing,
    }
    return joined(["fsbench", "run", *_words(options, request.settings)])


def test_command(run: Path, request: TestRequest, device: str, shard: str | None, on_existing: str = "reuse") -> list[str]:
    """The words of the command that asks for this test of a run."""
    options = {
        "--method": request.method,
        "--backbone": request.backbone,
        "--dataset": request.trained_on,
        "--test-dataset": request.dataset,
        "--data-root": request.data_root,
        "--test-data-root": request.test_data_root,
        "--ways": request.ways,
        "--shots": request.shots,
        "--protocol": request.protocol,
        "--queries": request.queries,
        "--episodes": request.episodes,
        "--device": None if device == "auto" else device,
        "--threads": request.threads,
        "--shard": shard,
        "--on-existing": None if on_existing == "reuse" else on_existing,
    }
    return ["fsbench", "test", str(run), *_words(options, request.settings)]


def joined(words: Iterable[str]) -> str:
    """Words as one command line, quoted."""
    return shlex.join(printable(word, 1000) for word in words)


def _words(options: Mapping[str, Any], settings: Iterable[str]) -> list[str]:
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    return words + [word for setting in settings for word in ("--set", setting)]


def request_of(content: Mapping[str, Any]) -> Request:
    """The request that a record's first result was made by, without places; raises `UsageError` where it names a file."""
    result, train = content["results"][0], content["train"]
    backbone = train["backbone"] and train["backbone"]["name"]
    if any(name and is_uninstalled(name) for name in (train["method"], train["dataset"], backbone)):
        raise UsageError("The record was made by what is not installed.")
    options = run_options(content, result, Asked.of(content, result))
    texts = [options["recipe"], *content["train"]["data"].values(), *result["test"]["data"].values()]
    if any(isinstance(text, str) and not PLAIN.fullmatch(text) for text in texts):
        raise UsageError("The record was asked for by a file.")
    settings = tuple(options.pop("settings"))
    elsewhere = Path(ELSEWHERE) if options.pop("test_data_root", None) else None
    return Request(**options | {"seed": options.pop("seeds"), "settings": settings, "test_data_root": elsewhere})
