"""Example records for tests, written as a run writes them."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot_bench.identity import identify_result, run_id
from fewshot_bench.metrics import LARGEST_SCORE
from fewshot_bench.results.record_models import SCHEMA
from fewshot_bench.results.records import Record, load_record
from fewshot_bench.results.score_files import write_scores
from fewshot_bench.results.statistics import score_interval, trials_of
from fewshot_bench.specs import TestSpec, TrainSpec
from fewshot_bench.storage import write_json

Scores = npt.NDArray[np.float64]


def draw_scores(name: str, mean: float, episodes: int = 200, predictions: int = 75) -> Scores:
    """Accuracies [episodes] of `predictions` each around `mean`; the same for the same name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return random.binomial(predictions, mean, episodes) / predictions


def _interval(scores: Scores, trials: float, metric: str) -> dict[str, Any]:
    """Mean and interval as a result states them; anything where scores have none."""
    if len(scores) < 2 or not all(abs(one) <= LARGEST_SCORE for one in scores):
        return {"mean": 0.0, "low": 0.0, "high": 0.0, "level": 0.95, "interval": "none"}
    found = score_interval([scores], trials=trials, metric=metric)
    return {"mean": found.mean, "low": found.low, "high": found.high, "level": found.level, "interval": found.method}


def make_record(root: Path, method: str, scores: Scores, **changes: Any) -> Record:
    """Write and read back a record of one result; `changes` override fields wherever the record has them.

    A change that belongs to the training, as `seed`, or to the test, as `protocol`, is given as `train_…` or `test_…`.
    """
    data = changes.get("train_dataset", changes.get("test_dataset", "omniglot"))  # a test is on what was trained on
    train = {
        "method": method,
        "hparams": {"inner_lr": 0.4},
        "backbone": {"name": "conv4-64"},
        "dataset": data,
        "data": {},
        "split": "train",
        "ways": 5,
        "shots": 1,
        "max_shots": None,
        "queries": 5,
        "batch_size": None,
        "meta_batch_size": 16,
        "optimiser": "adam",
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "lr_steps": [],
        "lr_linear": False,
        "gradient_norm_clip": None,
        "normalisation": "support",
        "updates": 8000,
        "validation": None,
        "selection": "last",
        "seed": 0,
    }
    test = {
        "protocol": "standard",
        "dataset": "omniglot",
        "data": {},
        "ways": 5,
        "shots": 1,
        "queries": 15,
        "episodes": len(scores),
        "seed": 0,
        "normalisation": "support",
        "inner_steps": 3,
    }
    result = {"metric": "accuracy", "direction": "max", "digest": "d" * 64}
    others = {"source": "a" * 64}
    for name, value in changes.items():
        prefix, _, rest = name.partition("_")
        if prefix in ("train", "test"):
            {"train": train, "test": test}[prefix][rest] = value
        else:
            (result if name in result else others)[name] = value
    if isinstance(train["backbone"], str):
        train["backbone"] = {"name": train["backbone"]}
    code = {"source_sha256": changes.get("scored_by", others["source"]), "engine": others.get("engine", 1)}
    code_id = others["source"], "omniglot-v1", others.get("engine", 1)
    run = run_id(TrainSpec.model_validate(train), *code_id)
    result_id = identify_result(TestSpec.model_validate(test), None, code["source_sha256"], code["engine"])
    of_one = {"test": test, **({"predictions": result["predictions"]} if "predictions" in result else {})}
    stated = {**_interval(scores, trials_of(of_one), result["metric"]), "cost": {"test_s": 1.0}}
    content = {
        "schema": SCHEMA,
        "run_id": run,
        "train": train,
        "engine": others.get("engine", 1),
        "method": {"source_version": 2, "name": method, "title": method, "source_sha256": others["source"]},
        "data": {"name": train["dataset"], "identity": "omniglot-v1"},
        "results": [{"id": result_id, "test": test, **stated, **result, **code}],
        "training": None,
        "cost": {"train_s": 1.0},
        "provenance": {"command": f"fsbench run --method {method} --seeds {train['seed']}"},
        **{name: others[name] for name in ("weights_sha256",) if name in others},
    }
    folder = root / f"{run}-{result_id}"
    write_scores(folder, {result_id: scores})
    write_json(folder / "record.json", content)
    return load_record(folder)
