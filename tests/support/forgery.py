"""Records that a forger changed and made to fit again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fewshot_bench.identity import identify_result, run_id
from fewshot_bench.results.records import load_record
from fewshot_bench.results.score_files import Scores, write_scores
from fewshot_bench.results.statistics import score_interval, trials_of
from fewshot_bench.specs import TestSpec, TrainSpec
from fewshot_bench.storage import write_json

Content = dict[str, Any]


def forge(folder: Path, scores: Scores | None = None, change: Callable[[Content], None] = lambda content: None) -> None:
    """Change a record and make every id, mean and interval in it fit again."""
    record = load_record(folder)
    content = json.loads((folder / "record.json").read_text())
    result = content["results"][0]
    scores = record.scores(result["id"]) if scores is None else scores
    change(content)
    interval = score_interval([scores], trials=trials_of(result))
    result |= {"mean": interval.mean, "low": interval.low, "high": interval.high, "interval": interval.method}
    code = content["method"]["source_sha256"], content["data"]["identity"], content["engine"]
    content["run_id"] = run_id(TrainSpec.model_validate(content["train"]), *code)
    other = result.get("data", {}).get("identity")
    result["id"] = identify_result(TestSpec.model_validate(result["test"]), other, result["source_sha256"], result["engine"])
    write_scores(folder, {result["id"]: scores})
    write_json(folder / "record.json", content)
