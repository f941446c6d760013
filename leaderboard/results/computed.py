"""What a training and its tests compute by the code that Python finds here: a process that `rewritten.py` asks.

It reads requests, a line of JSON each, and answers each with a line. It runs with the code of earlier commits too, whose
modules lie elsewhere; nothing but the names below is used of it.
"""

import hashlib
import importlib
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HOMES = {
    "checkpoint": ("runs.checkpoint", "checkpoint"),
    "base": ("learning.base", "method"),
    "inputs": ("runs.inputs", "run_data"),
    "listener": ("runs.listener", "session"),
    "plan": ("runs.plan", "plan"),
    "names": ("runs.requests.trusted_names", "named_again"),
    "resolve": ("runs.requests.resolve", "resolve"),
    "testing": ("runs.testing", "testing"),
    "training": ("runs.training", "training"),
    "session": ("runs.session", "session"),
    "specs": ("specs",),
    "engine": ("engine",),
}
"""Where modules lie: in packages, or beside each other as they did until commit 97c17b8."""


def module(name: str) -> Any:
    """A module of the core, wherever it lies."""
    *first, last = HOMES[name]
    for home in first:
        try:
            return importlib.import_module(f"fewshot_bench.{home}")
        except ModuleNotFoundError as error:
            if not f"fewshot_bench.{home}".startswith(str(error.name)):
                raise  # it is there, and lacks something else
    return importlib.import_module(f"fewshot_bench.{last}")


class Watcher(module("listener").Listener):  # type: ignore[misc]
    """Keeps the loss of each update and stops after so many."""

    def __init__(self, updates: int) -> None:
        self.updates = updates
        self.losses: list[float] = []

    def trained(self, at: Any, loss: float) -> None:
        """After each update."""
        self.losses.append(loss)

    def stopped(self) -> bool:
        """After the last of them."""
        return len(self.losses) >= self.updates

    def note(self, text: str) -> None:
        """What a user should know goes to the error output."""
        print(text, file=sys.stderr)


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The method's source; where it is `wanted`, or nothing is, also what is computed."""
    specs, listener = module("specs"), Watcher(asked["updates"])
    train = specs.TrainSpec.model_validate_json(json.dumps(asked["train"]))
    tests = {name: specs.TestSpec.model_validate_json(json.dumps(test)) for name, test in asked["tests"].items()}
    root = Path(asked["data_root"]) if asked["data_root"] else None
    named = asked["method"], asked["backbone"], asked["dataset"]
    resolve_again = module("resolve").resolve_again
    if "names" in signature(resolve_again).parameters:  # until commit 97c17b8 they were three texts
        named = (module("names").Names(*named, None),)
    resolved = resolve_again(*named, train, next(iter(tests.values())), asked["plan"]["device"], root)
    source = {"source_sha256": resolved.source_sha256, "engine": module("engine").ENGINE}
    if not asked["compute"]:
        return source
    if (identity := resolved.dataset.identity()) != asked["identity"]:
        raise LookupError(f"the data of {train.dataset} here are others: {identity}")
    session = opened(resolved, asked["plan"], listener)
    found = trained(session, listener) if session.method.trained and train.updates else {}
    if asked["weights"]:
        session = opened(resolved, asked["plan"], listener)
        session.method.load_state_dict(module("checkpoint").load_tensors(Path(asked["weights"]))[0])
    found["tests"] = {name: tested(session, spec, asked["episodes"]) for name, spec in tests.items()}
    return source | found


def opened(resolved: Any, plan: Mapping[str, Any], listener: Any) -> Any:
    """A session under exactly this plan, its method with fresh parameters."""
    prepared, on = module("inputs").open_data(resolved, listener)
    session = module("session").Session.open(resolved, prepared, module("plan").Plan(**plan), listener, on)
    if session.plan.as_json() != plan:
        raise LookupError("its plan cannot be had here: the fast kernels are missing")
    return session


def trained(session: Any, watcher: Watcher) -> dict[str, Any]:
    """The losses of the first updates, and hashes of the whole state after them and of a block of the validation."""
    with TemporaryDirectory() as folder:
        trainer = session.trainer(Path(folder))
        try:
            trainer.train(watcher)
        except module("training").Interrupted:
            pass
        state = module("checkpoint").load_tensors(trainer.state_path)[0]
    found = {"losses": watcher.losses, "state": module("checkpoint").weights_sha256(state), "validation": None}
    if (rules := session.resolved.train.validation) is not None:
        conditions = conditions_of(session, rules)
        block = module("testing").batch_size(session.method, trainer.validation, conditions, session.plan.test_chunk)
        found["validation"] = scored(session, trainer.validation, rules, min(block, rules.episodes))
    return found


def tested(session: Any, spec: Any, least: int) -> dict[str, Any]:
    """Scores of the first episodes of a test: at least so many, and whole batches, so that they are what they are in all."""
    block = session.batch_size(spec)
    return scored(session, session.test_source(spec), spec, min(spec.episodes, block * math.ceil(least / block)))


def scored(session: Any, source: Any, rules: Any, episodes: int) -> dict[str, Any]:
    """Scores of the first episodes of a source, a hash of the outputs that they are of, and for functions one of the scores
    after each inner step."""
    sha, scores, conditions = hashlib.sha256(), [], conditions_of(session, rules)

    def watch(source: Any, first: int, tasks: Any, outputs: Any) -> None:
        sha.update(outputs.detach().cpu().contiguous().numpy().tobytes())

    about = session.method, source, conditions, rules.episodes, session.plan.test_chunk
    for block in module("testing").episode_scores(*about, range(episodes), watch):
        scores += block.tolist()
    if session.method.info.kind == "regression":
        steps = module("testing").scores_by_step(*about[:3], episodes, session.plan.test_chunk)
        sha.update(b"" if steps is None else steps.tobytes())
    return {"scores": scores, "outputs": sha.hexdigest()}


def conditions_of(session: Any, rules: Any) -> Any:
    """Those of a validation or a test. Kernels are a part of them now; until commit 97c17b8 the plan switched them on."""
    conditions = module("base").Conditions
    named = {one.name for one in fields(conditions)}
    kernels = {"kernels": session.plan.kernels} if "kernels" in named else {}
    return conditions(rules.normalisation, rules.inner_steps, **kernels)


def main() -> None:
    """Answer what is asked until there is nothing more; what a method prints goes to the error output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            said = answer(json.loads(line))
        except Exception as error:  # of the methods' code, the data, or the machine: the record is left, and why is said
            said = {"refused": " ".join(str(error).split()) or type(error).__name__}
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
