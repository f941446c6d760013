"""Every recipe `paper` trains and tests as its paper and the authors' code say, as far as they say it."""

from collections.abc import Iterator
from typing import Any

import pytest

from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.runs.requests.resolve import Resolved, resolve

STATED = """
method dataset  ways shots  code_lr steps test_steps  tasks updates trained_shots queries code_clip lr     protocol
maml   omniglot 5    1      0.4     1     3           32    60000   1             1       -         0.001  finn
maml   omniglot 5    5      0.4     1     3           32    60000   5             5       -         0.001  finn
maml   omniglot 20   1      0.1     5     5           16    60000   1             1       -         0.001  finn
maml   omniglot 20   5      0.1     5     5           16    60000   5             5       -         0.001  finn
maml   mini-imagenet 5 1    0.01    5     10          4     60000   1             15      10        0.001  finn
maml   mini-imagenet 5 5    0.01    5     10          2     60000   5             15      10        0.001  finn
fomaml mini-imagenet 5 1    0.01    5     10          4     60000   1             15      10        0.001  finn
fomaml mini-imagenet 5 5    0.01    5     10          2     60000   5             15      10        0.001  finn

method dataset  ways shots  code_lr steps test_steps  tasks updates trained_shots queries lr     test_episodes
maml   sinusoid -    5      0.01    1     10          25    70000   10            10      0.001  600
maml   sinusoid -    10     0.01    1     10          25    70000   10            10      0.001  600

method   dataset                    ways shots  steps test_steps  updates trained_shots test_episodes test_queries
maml     sinusoid-varying-frequency -    5      1     1           60000   5             100           100
maml     sinusoid-varying-frequency -    10     1     1           60000   5             100           100
maml     sinusoid-varying-frequency -    20     1     1           60000   5             100           100
meta-sgd sinusoid-varying-frequency -    5      1     1           60000   5             100           100
meta-sgd sinusoid-varying-frequency -    10     1     1           60000   5             100           100
meta-sgd sinusoid-varying-frequency -    20     1     1           60000   5             100           100

method   dataset       ways shots  steps test_steps  updates trained_shots queries protocol
meta-sgd omniglot      5    1      1     1           60000   1             15      finn
meta-sgd omniglot      5    5      1     1           60000   1             15      finn
meta-sgd omniglot      20   1      1     1           60000   1             15      finn
meta-sgd omniglot      20   5      1     1           60000   1             15      finn
meta-sgd mini-imagenet 5    1      1     1           60000   1             15      finn
meta-sgd mini-imagenet 5    5      1     1           60000   5             15      finn
meta-sgd mini-imagenet 20   1      1     1           60000   1             15      finn
meta-sgd mini-imagenet 20   5      1     1           60000   5             15      finn

method dataset                    ways shots  code_lr steps tasks updates trained_shots protocol
t-net  omniglot                   5    1      0.4     1     32    40000   1             finn
t-net  omniglot                   20   1      0.1     1     16    40000   1             finn
t-net  mini-imagenet              5    1      0.01    5     4     60000   1             finn
t-net  sinusoid-varying-frequency -    5      0.01    1     4     60000   10            -
t-net  sinusoid-varying-frequency -    10     0.01    1     4     60000   10            -
t-net  sinusoid-varying-frequency -    20     0.01    1     4     60000   10            -
mt-net omniglot                   5    1      0.4     1     32    40000   1             finn
mt-net omniglot                   20   1      0.1     1     16    40000   1             finn
mt-net mini-imagenet              5    1      0.01    5     4     60000   1             finn
mt-net sinusoid-varying-frequency -    5      0.01    1     4     60000   10            -
mt-net sinusoid-varying-frequency -    10     0.01    1     4     60000   10            -
mt-net sinusoid-varying-frequency -    20     0.01    1     4     60000   10            -

method                dataset       ways shots  trained_ways trained_shots queries lr    halved  protocol test_episodes
prototypical-networks omniglot      5    1      60           1             5       0.001 2000    snell    1000
prototypical-networks omniglot      5    5      60           5             5       0.001 2000    snell    1000
prototypical-networks omniglot      20   1      60           1             5       0.001 2000    snell    1000
prototypical-networks omniglot      20   5      60           5             5       0.001 2000    snell    1000
prototypical-networks mini-imagenet 5    1      30           1             15      -     -       snell    600
prototypical-networks mini-imagenet 5    5      20           5             15      -     -       snell    600

method            recipe    dataset       ways shots  steps updates queries lr     norm_clip protocol
matching-networks paper     mini-imagenet 5    1      -     75000   15      0.0001 -         ravi
matching-networks paper     mini-imagenet 5    5      -     75000   15      0.0001 -         ravi
matching-networks paper-fce mini-imagenet 5    1      -     75000   15      0.0001 -         ravi
matching-networks paper-fce mini-imagenet 5    5      -     75000   15      0.0001 -         ravi
lstm-meta-learner paper     mini-imagenet 5    1      12    75000   15      0.001  0.25      ravi
lstm-meta-learner paper     mini-imagenet 5    5      8     50000   15      0.001  0.25      ravi

method dataset       ways shots  trained_shots max_shots lr
snail  omniglot      5    1      1             5         0.0001
snail  omniglot      5    5      1             5         0.0001
snail  omniglot      20   1      1             5         0.0001
snail  omniglot      20   5      1             5         0.0001
snail  mini-imagenet 5    1      1             5         0.0001
snail  mini-imagenet 5    5      1             5         0.0001
tcml   omniglot      5    1      1             5         -
tcml   omniglot      20   1      1             5         -
tcml   mini-imagenet 5    1      1             5         -

method  recipe             dataset       ways shots inner_lr steps test_steps batch test_batch tasks updates trained_shots
reptile paper              omniglot      5    1     0.001    5     50         10    5          5     100000  10
reptile paper              omniglot      5    5     0.001    5     50         10    5          5     100000  10
reptile paper              omniglot      20   1     0.0005   10    50         20    10         5     200000  10
reptile paper              omniglot      20   5     0.0005   10    50         20    10         5     200000  10
reptile paper              mini-imagenet 5    1     0.001    8     50         10    5          5     100000  15
reptile paper              mini-imagenet 5    5     0.001    8     50         10    15         5     100000  15
reptile paper-transductive omniglot      5    1     0.001    5     50         10    5          5     100000  10
reptile paper-transductive omniglot      5    5     0.001    5     50         10    5          5     100000  10
reptile paper-transductive omniglot      20   1     0.0005   10    50         20    10         5     200000  10
reptile paper-transductive omniglot      20   5     0.0005   10    50         20    10         5     200000  10
reptile paper-transductive mini-imagenet 5    1     0.001    8     50         10    5          5     100000  15
reptile paper-transductive mini-imagenet 5    5     0.001    8     50         10    15         5     100000  15

method  dataset       ways shots trained_ways trained_shots lr linear test_episodes test_queries
reptile omniglot      5    1     5            10            1  1      10000         1
reptile omniglot      5    5     5            10            1  1      10000         1
reptile omniglot      20   1     20           10            1  1      10000         1
reptile omniglot      20   5     20           10            1  1      10000         1
reptile mini-imagenet 5    1     5            15            1  1      10000         1
reptile mini-imagenet 5    5     5            15            1  1      10000         1

method           dataset       ways shots trained_ways trained_shots queries tasks updates lr    test_episodes
r2d2             omniglot      5    1     60           -             -       -     -       0.005 10000
r2d2             omniglot      5    5     60           -             -       -     -       0.005 10000
r2d2             omniglot      20   1     60           -             -       -     -       0.005 10000
r2d2             omniglot      20   5     60           -             -       -     -       0.005 10000
r2d2             mini-imagenet 5    1     16           -             -       -     -       0.005 10000
r2d2             mini-imagenet 5    5     16           -             -       -     -       0.005 10000
metaoptnet-ridge mini-imagenet 5    1     5            5             6       8     60000   0.1   1000
metaoptnet-ridge mini-imagenet 5    5     5            5             6       8     60000   0.1   1000

method     dataset       ways shots  images_an_update updates lr     test_episodes test_queries
baseline   mini-imagenet 5    1      16               960000  0.001  600           16
baseline   mini-imagenet 5    5      16               960000  0.001  600           16
baseline++ mini-imagenet 5    1      16               960000  0.001  600           16
baseline++ mini-imagenet 5    5      16               960000  0.001  600           16
"""
"""What the papers and the authors' code state, a row a benchmark; `-` where they do not, or it has none.

Sources: Finn et al. 2017, appendix A.1, and cbfinn/maml; Li et al. 2017, section 4, table 1; yoonholee/MT-net; Snell et al.
2017; twitter/meta-learning-lstm; Mishra et al. 2018 and eambutu/snail-pytorch; openai/supervised-reptile; bertinetto/r2d2;
kjunelee/MetaOptNet; wyharveychen/CloserLookFewShot (400 epochs of 38,400 images).
"""

MEANS = {
    "inner_lr": "method.inner_lr",
    "steps": "method.inner_steps",
    "test_steps": "method.test_inner_steps",
    "batch": "method.inner_batch",
    "test_batch": "method.test_inner_batch",
    "tasks": "train.meta_batch_size",
    "images_an_update": "train.batch_size",
    "updates": "train.updates",
    "trained_ways": "train.ways",
    "trained_shots": "train.shots",
    "max_shots": "train.max_shots",
    "queries": "train.queries",
    "lr": "train.lr",
    "linear": "train.lr_linear",
    "halved": "train.lr_halve_every",
    "norm_clip": "train.gradient_norm_clip",
    "protocol": "test.protocol",
    "test_episodes": "test.episodes",
    "test_queries": "test.queries",
}
"""What a column is in a specification. `code_lr` and `code_clip` are of the authors' losses, which `ours` makes means."""

Row = dict[str, str]


def rows() -> Iterator[Row]:
    """Those of STATED, without what is not stated."""
    for table in STATED.strip().split("\n\n"):
        header, *lines = (line.split() for line in table.splitlines())
        yield from ({key: cell for key, cell in zip(header, line, strict=True) if cell != "-"} for line in lines)


def asked(row: Row) -> Request:
    """The request for a row's benchmark."""
    ways = int(row["ways"]) if "ways" in row else None
    return Request(row["method"], row["dataset"], ways, int(row["shots"]), recipe=row.get("recipe", "paper"), device="cpu")


def label(row: Row) -> str:
    """A row as the name of a test."""
    return " ".join(row.get(key, "") for key in ("method", "recipe", "dataset", "ways", "shots"))


def ours(row: Row) -> dict[str, Any]:
    """What a row says, as settings of ours.

    The code of Finn et al. sums a task's losses over its images and divides by the shots: of N ways and K shots that is N
    times the mean over the support, and N Q / K times the mean over Q queries a class.
    """
    ways, shots = int(row.get("ways", 1)), int(row["shots"])
    wanted: dict[str, Any] = {MEANS[key]: row[key] for key in MEANS if key in row}
    if "code_lr" in row:
        wanted["method.inner_lr"] = float(row["code_lr"]) * ways
    if "code_clip" in row:
        wanted["train.gradient_clip"] = float(row["code_clip"]) * shots / (ways * int(row["queries"]))
    return {key: value if key == "test.protocol" else float(value) for key, value in wanted.items()}


def settings(run: Resolved) -> dict[str, Any]:
    """All values of a specification under the names of `--set`."""
    sections = {"method": run.train.hparams, "train": run.train.model_dump(), "test": run.test.model_dump()}
    return {f"{section}.{name}": value for section, values in sections.items() for name, value in values.items()}


@pytest.mark.parametrize("row", list(rows()), ids=label)
def test_a_paper_recipe_has_the_values_that_its_paper_and_code_state(row: Row) -> None:
    """Bounds of gradients to half a percent, as a recipe rounds 10/75; all else exactly."""
    found, wanted = settings(resolve(asked(row))), ours(row)
    assert {key: found[key] for key in wanted} == {
        key: pytest.approx(value, rel=5e-3) if key.endswith("gradient_clip") else value for key, value in wanted.items()
    }


FOLLOWERS = {
    "anil": "maml",
    "l2l-maml": "maml",
    "l2l-meta-sgd": "meta-sgd",
    "l2l-prototypical-networks": "prototypical-networks",
}
"""Methods whose recipes `paper` say that they train as another's."""


def benchmarks(name: str) -> list[tuple[str, int | None, int]]:
    """Data set, ways and shots of each entry of a recipe `paper`; 5 ways and 1 shot where it leaves them open."""
    sizes = [entry["for"] for entry in registry.find("methods", name).card()["recipes"]["paper"]]
    ways = [None if size["dataset"].startswith("sinusoid") else size.get("ways", 5) for size in sizes]
    return [(size["dataset"], n, size.get("shots", 1)) for size, n in zip(sizes, ways, strict=True)]


@pytest.mark.parametrize(
    ("name", "dataset", "ways", "shots"), [(name, *one) for name in FOLLOWERS for one in benchmarks(name)]
)
def test_a_recipe_that_follows_another_trains_as_it_does(name: str, dataset: str, ways: int | None, shots: int) -> None:
    """But for the network; tested as it, too."""
    if reason := registry.find("methods", name).missing():
        pytest.skip(reason)
    own, other = (
        resolve(Request(one, dataset, ways, shots, recipe="paper", device="cpu")) for one in (name, FOLLOWERS[name])
    )
    theirs = {"method", "hparams", "backbone"}
    assert own.train.model_dump(exclude=theirs) == other.train.model_dump(exclude=theirs)
    assert own.test == other.test
    shared = {"inner_lr", "inner_steps", "test_inner_steps"} & own.train.hparams.keys() & other.train.hparams.keys()
    assert {key: own.train.hparams[key] for key in shared} == {key: other.train.hparams[key] for key in shared}


@pytest.mark.parametrize(("dataset", "ways", "shots"), [one for one in benchmarks("meta-sgd") if one[1] == 5])
def test_meta_sgd_takes_over_the_tasks_of_mamls_update(dataset: str, ways: int, shots: int) -> None:
    """As its recipe says of what its paper leaves open."""
    tasks = [
        resolve(Request(name, dataset, ways, shots, recipe="paper", device="cpu")).train.meta_batch_size
        for name in ("meta-sgd", "maml")
    ]
    assert tasks[0] == tasks[1]
