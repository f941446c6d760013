"""The content of a record, checked: its shape (`record_models`), and its ids against what they are the hash of."""

from typing import Any

from pydantic import BaseModel, ValidationError

from fewshot_bench.episodes.protocols import PROTOCOLS, check_episodes, check_test_mode, conditions
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import UsageError
from fewshot_bench.identity import identify_result, run_id
from fewshot_bench.metrics import METRICS
from fewshot_bench.results.record_models import ABSENT, DataPart, RecordContent, Result
from fewshot_bench.text.printable import printable
from fewshot_bench.text.reasons import reason


def checked(content: dict[str, Any], *, ids: bool = True) -> dict[str, Any]:
    """A record's content with its specs complete; raises `ValueError` that says what is wrong first. Without `ids` those are
    not computed again: an older schema had others."""
    try:
        found = RecordContent.model_validate(content)
    except ValidationError as error:
        raise ValueError(_first(error)) from None
    if ids:
        _check_ids(found)
    for number, result in enumerate(found.results):
        _check_protocol(f"results.{number}.test", result)
        _check_possible(f"results.{number}.test", result, found.data if result.data is ABSENT else result.data)
    tests = [one.test.model_dump(mode="json") for one in found.results]
    results = [result | {"test": test} for result, test in zip(content["results"], tests, strict=True)]
    return content | {"train": found.train.model_dump(mode="json"), "results": results}


def _check_ids(content: RecordContent) -> None:
    """Refuse ids that are not those of what the record says: a changed seed would count as another run."""
    code = content.method.source_sha256, content.data.identity, content.engine
    if content.run_id != (due := run_id(content.train, *code)):
        raise ValueError(f"run_id is not that of its training, {due}: one of the two was changed")
    for result in content.results:
        other = result.data.identity if result.data else None
        due = identify_result(result.test, other, result.source_sha256, result.engine)
        if result.id != due:
            raise ValueError(f"the id of result {result.id} is not that of its test, {due}: one of the two was changed")


def _check_protocol(where: str, result: Result) -> None:
    """Refuse a test that is not of its protocol: half of the episodes, or another seed's, would stand beside the others'."""
    test = result.test
    if (protocol := PROTOCOLS.get(test.protocol)) is None:  # which a note of the table says
        return
    asked = {"queries": test.queries, "episodes": test.episodes, "seed": test.seed}
    try:
        conditions(test.protocol, METRICS[result.metric].kind, test.dataset, test.shots, **asked)
        check_episodes(test.protocol, EpisodeSize.of(test))
        if protocol.transductive is not None:
            check_test_mode(test.normalisation, test.protocol, protocol.transductive)
    except UsageError as error:
        raise ValueError(f"{where}: {str(error).partition('.')[0]}") from None


def _check_possible(where: str, result: Result, data: DataPart) -> None:
    """Refuse episodes of more classes or images than the split has that the record states."""
    split, size = data.splits.get("test"), EpisodeSize.of(result.test)
    if split is None or METRICS[result.metric].kind == "regression":
        return
    if (wanted := size.largest_ways + size.distractors) > split.classes:
        raise ValueError(f"{where}: episodes of {wanted:,} classes, of a split that has {split.classes:,}")
    if size.images > split.images:
        raise ValueError(f"{where}: episodes of {size.images:,} images, of a split that has {split.images:,}")


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return printable(f"{where} is missing")
    if first["type"] == "extra_forbidden":
        return printable(f"{where} is a key that this version does not know")
    said = reason(first)
    got = "" if isinstance(first["input"], dict | list | BaseModel) else f", got {printable(repr(first['input']), 60)}"
    return printable(f"{where}: {said}{got}" if where else said, 300)
