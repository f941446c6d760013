"""What an epoch of each backbone costs on one core: forward and backward, by our kernels.

`python tests/benchmarks/backbone_cost.py [NAME ...]` prints the table of docs/reference/backbones.md. A pass embeds a few
images of one task under their own statistics, and its gradient reaches every parameter. Seconds are those of the processor,
so other programs on the machine count only as far as they slow its memory and caches down; the fastest of the passes is
taken."""

import argparse
import time
from collections.abc import Iterable

import torch

from fewshot_bench import kernels
from fewshot_bench.plugins import registry

EPOCH = 1000 * 5 * (5 + 15)
"""Images of 1,000 episodes of 5 ways, 5 shots and 15 queries."""
AT_ONCE = {32: 20, 84: 5}
"""Side of the images -> images of a pass."""
LEAST_S, LEAST_PASSES = 4.0, 3


def images_per_s(name: str, side: int) -> float:
    """Images a second of one core."""
    torch.manual_seed(0)
    network = registry.find("backbones", name).load()((3, side, side))
    params, x = dict(network.named_parameters()), torch.rand(1, AT_ONCE[side], 3, side, side)
    passes: list[float] = []
    while sum(passes) < LEAST_S or len(passes) < LEAST_PASSES:
        start = time.process_time()
        torch.autograd.grad(network.embed(x, params)[0].square().sum(), list(params.values()))
        passes.append(time.process_time() - start)
    return AT_ONCE[side] / min(passes)


def rows(names: Iterable[str]) -> Iterable[str]:
    """A line of the table for each backbone."""
    for name in names:
        cells = [f"`{name}`"]
        for side in AT_ONCE:
            rate = images_per_s(name, side)
            cells += [f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}", hours(EPOCH / rate)]
        yield f"| {' | '.join(cells)} |"


def hours(seconds: float) -> str:
    """Two digits in a unit that suits them."""
    return f"{seconds / 3600:.2g} h" if seconds >= 5400 else f"{seconds / 60:.2g} min"


def main(names: Iterable[str]) -> None:
    """Print the table, a line as soon as it is measured."""
    heads = [f"images a second, {side}x{side} | an epoch" for side in AT_ONCE]
    print(f"| name | {' | '.join(heads)} |\n|---|{'---:|' * 2 * len(AT_ONCE)}")
    with kernels.serving(True):
        for row in rows(names):
            print(row, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="backbones; all without")
    asked = parser.parse_args().names
    torch.set_num_threads(1)
    main(asked or [one for one in registry.registered("backbones") if one != "mlp-40"])
