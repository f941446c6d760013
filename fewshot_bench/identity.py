"""Ids of trainings and of results: equal ids, equal numbers."""

from fewshot_bench.engine import ENGINE
from fewshot_bench.hashing import short_hash
from fewshot_bench.specs import TestSpec, TrainSpec


def run_id(spec: TrainSpec, source_sha256: str, data_identity: str, engine: int = ENGINE) -> str:
    """The identity of a training: its spec, the method's source, the data and the core's numerics. A change of any gives
    another run."""
    return short_hash(spec.model_dump(), source_sha256, data_identity, engine)


def identify_result(test: TestSpec, other_data: str | None, source_sha256: str, engine: int = ENGINE) -> str:
    """The identity of a result within its record: its test, the identity of its data if they are not the training's, and the
    code that scored it."""
    return short_hash(test.model_dump(), other_data, source_sha256, engine)
