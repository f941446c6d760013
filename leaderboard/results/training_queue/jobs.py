"""The trainings that published records come from: the short ones, and those of the papers' own recipes."""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from fewshot_bench.errors import FewshotError
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.runs.requests.resolve import Resolved, resolve


@dataclass(frozen=True)
class Job:
    """One training: its arguments, and those of the other tests of its checkpoint."""

    arguments: tuple[str, ...]
    tests: tuple[tuple[str, ...], ...] = ()

    @property
    def training(self) -> str:
        """The training in words: `maml omniglot paper 5 1 seed 2`."""
        return in_words(self.arguments)

    @property
    def name(self) -> str:
        """The training, and its other tests after semicolons."""
        return "; ".join([self.training, *map(in_words, self.tests)])


def in_words(arguments: tuple[str, ...]) -> str:
    """The values of options, without their names."""
    return " ".join("seed" if word == "--seeds" else word for word in arguments if word == "--seeds" or word[:2] != "--")


def job(*arguments: str, tests: tuple[str, ...] = ()) -> Job:
    """A job from its arguments, the words of each test in one text."""
    return Job(arguments, tuple(tuple(test.split()) for test in tests))


TRANSDUCTIVE = "--protocol standard-transductive"
TWENTY_WAYS = "--ways 20"

GRADIENT = ("maml", "fomaml", "anil", "meta-sgd", "t-net", "mt-net", "reptile")
ANY_WAYS = ("prototypical-networks", "matching-networks", "relation-networks", "metaoptnet-ridge", "r2d2")
OTHERS = ("lstm-meta-learner", "tcml", "snail")
FEATURES = ("baseline", "baseline++", "logistic-regression", "simpleshot", "nearest-neighbour-features")
PEERS = ("l2l-maml", "l2l-meta-sgd", "l2l-prototypical-networks")  # where learn2learn is installed
GRADIENT_PEERS = PEERS[:2]
CONTROLLED = ("matching-networks", "prototypical-networks", *GRADIENT, "lstm-meta-learner")
ONE_MODEL = ("tcml", "snail")  # for 1 to 5 shots
HOUSE = ("default", "short", "controlled", "transductive", "long")
"""How the names of recipes begin that are this project's own: all others are named for whose conditions they reproduce."""
SINUSOIDS = ("maml", "meta-sgd", "fomaml", "t-net", "mt-net", "lstm-meta-learner", *GRADIENT_PEERS)


def omniglot() -> list[Job]:
    """5-way 1-shot for every method, five CPU-minutes of training each; 20-way for those that any number of ways fits."""
    common = ("--dataset", "omniglot", "--recipe", "short")
    jobs = [job("--method", name, "--dataset", "omniglot") for name in ("nearest-centroid", "nearest-neighbour")]
    jobs += [job("--method", name, *common, tests=(TRANSDUCTIVE,)) for name in (*GRADIENT, *GRADIENT_PEERS)]
    jobs += [job("--method", name, *common, tests=(TWENTY_WAYS,)) for name in ANY_WAYS]
    jobs += [job("--method", "matching-networks", *common, "--set", "fce=true")]
    return jobs + [job("--method", name, *common) for name in (*OTHERS, *FEATURES, "l2l-prototypical-networks")]


def cifar_fs() -> list[Job]:
    """5-way 1-shot and 5-shot, `controlled`."""
    common = ("--dataset", "cifar-fs", "--recipe", "controlled")
    jobs = [job("--method", name, *common, "--shots", shots) for name in CONTROLLED for shots in ("1", "5")]
    return jobs + [job("--method", name, *common, tests=("--shots 5",)) for name in ONE_MODEL]


def groceries() -> list[Job]:
    """Photographs of groceries as a user's own folder."""
    photographs = os.path.expandvars("$FSBENCH_DATA/grocery-store")
    common = ("--dataset", "folder", "--data-root", photographs, "--shots", "5")
    return [job("--method", name, *common) for name in ("prototypical-networks", "nearest-centroid")]


def sinusoid() -> list[Job]:
    """Trained with 5 points, tested with 5, 10 and 20 (Li et al. 2017, table 1)."""
    common = ("--dataset", "sinusoid-varying-frequency", "--shots", "5")
    return [job("--method", name, *common, tests=("--shots 10", "--shots 20")) for name in SINUSOIDS]


def glyphs() -> list[Job]:
    """Glyphs 5-way 1-shot for every method: what a user's first command does."""
    names = ("nearest-centroid", *GRADIENT, *ANY_WAYS, *OTHERS, *FEATURES, *PEERS)
    return [job("--method", name, "--dataset", "glyphs") for name in names]


def longer() -> list[Job]:
    """Omniglot 5-way 1-shot with the recipes that train for a quarter of an hour."""
    common = ("--dataset", "omniglot")
    jobs = [job("--method", name, *common, tests=(TRANSDUCTIVE,)) for name in ("prototypical-networks", "maml")]
    return [*jobs, job("--method", "maml", *common, "--recipe", "transductive", tests=("--protocol standard",))]


def short() -> list[Job]:
    """What is trained for minutes: the records that every change of the code can be expected to renew."""
    return [*glyphs(), *omniglot(), *sinusoid(), *cifar_fs(), *groceries(), *longer()]


def papers() -> list[Job]:
    """Every recipe of every card that reproduces somebody's conditions (all but the HOUSE's), tested under those, the most
    wanted first; one job for all the tests of one training."""
    first = ["maml", "prototypical-networks", "mt-net", "snail"]
    installed = [name for name, plugin in registry.registered("methods").items() if not plugin.missing()]
    trainings: dict[str, list[tuple[Request, Resolved]]] = defaultdict(list)
    refused: list[Job] = []
    for name in [*first, *(name for name in installed if name not in first)]:
        for request in paper_requests(name):
            try:
                resolved = resolve(request)
            except FewshotError:  # which its plan says, and no other job suffers from
                refused.append(Job(asked_for(request)))
                continue
            trainings[resolved.train.model_dump_json()].append((request, resolved))
    return [*(paper_job(same) for same in trainings.values()), *refused]


def paper_requests(name: str) -> Iterator[Request]:
    """One for each size of episode that a recipe is for; where it leaves that open, for those that papers report."""
    for recipe, entries in registry.find("methods", name).card().get("recipes", {}).items():
        for asked in (entry["for"] for entry in entries if not recipe.startswith(HOUSE)):
            functions = asked["dataset"].startswith("sinusoid")
            open_ways = [None] if functions else [5, 20] if asked["dataset"] == "omniglot" else [5]
            open_shots = [5, 10, 20] if functions else [1, 5]
            for ways in [asked["ways"]] if "ways" in asked else open_ways:
                for shots in [asked["shots"]] if "shots" in asked else open_shots:
                    yield Request(name, asked["dataset"], ways, shots, recipe=recipe, device="cpu")


def paper_job(same: list[tuple[Request, Resolved]]) -> Job:
    """A training, tested as its first recipe says, and the tests of the others whose training it is too."""
    (request, _), *others = same
    return Job(asked_for(request), tuple(size(other) + conditions(resolved) for other, resolved in others))


def asked_for(request: Request) -> tuple[str, ...]:
    """The options that ask for a recipe's training."""
    return (
        *("--method", request.method, "--dataset", request.dataset, "--recipe", str(request.recipe)),
        *size(request),
    )


def size(request: Request) -> tuple[str, ...]:
    """Ways, which functions have none of, and shots as options."""
    return (*(("--ways", str(request.ways)) if request.ways else ()), "--shots", str(request.shots))


def conditions(resolved: Resolved) -> tuple[str, ...]:
    """All conditions of a test as options."""
    test = resolved.test
    numbers = ("--queries", str(test.queries), "--episodes", str(test.episodes))
    return ("--protocol", test.protocol, *numbers, "--set", f"test.normalisation={test.normalisation}")
