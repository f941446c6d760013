"""The specification of a small training, for tests."""

from typing import Any

from fewshot_bench.specs import TrainSpec


def spec(method: str = "maml", **changes: Any) -> TrainSpec:
    """A training of 5-way 1-shot tasks with 3 queries a class, 4 tasks an update."""
    fields: dict[str, Any] = {"method": method, "hparams": {}, "backbone": "conv4-64", "dataset": "blobs", "data": {}}
    fields |= {"ways": 5, "shots": 1, "queries": 3, "meta_batch_size": 4, "updates": 3, "seed": 0, "validation": None}
    fields |= {"normalisation": "joint" if method == "prototypical-networks" else "support", "selection": "last"}
    return TrainSpec.checked(fields | changes)
