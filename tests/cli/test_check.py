"""`fsbench check` from the command line: what it lists, how it ends, and what it says of a wrong name."""

import json
from pathlib import Path

import pytest
from command_line import LINEAR, call, finished
from plugin_file import refused

NETWORK = """
import torch
from fewshot_bench import Backbone

class Network(Backbone):
    channels = {}
    def __init__(self, input_shape):
        super().__init__()
        self.features = 1
        self.weight = torch.nn.Parameter(torch.ones(1))
    def embed(self, x, params, given=None):
        return x.flatten(2).mean(-1, keepdim=True) * params["weight"].view(-1, 1, 1), {}

class Broken(Network):
    def __init__(self, input_shape):
        raise RuntimeError("no such layer")

class Neither:
    pass
"""


def test_it_lists_each_check_and_counts_them() -> None:
    """A line for each, as text and as JSON."""
    text = finished("check", "nearest-centroid").out.splitlines()
    found = json.loads(finished("check", "nearest-centroid", "--json").out)
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in text[:-1]] == [one["name"] for one in found["checks"]]
    assert (found["name"], found["kind"], found["passed"]) == ("nearest-centroid", "method", True)
    counts = [sum(one["standing"] == kind for one in found["checks"]) for kind in ("passed", "failed", "skipped")]
    assert text[-1] == "method nearest-centroid: {} passed, {} failed, {} skipped".format(*counts)


@pytest.mark.parametrize(("name", "kind"), [("digits", "dataset"), ("mlp-40", "backbone"), (LINEAR, "method")])
def test_a_name_is_looked_for_among_methods_data_sets_and_backbones(name: str, kind: str) -> None:
    """A file is imported to find out."""
    assert json.loads(finished("check", name, "--json").out)["kind"] == kind


def test_a_check_that_failed_ends_with_1(tmp_path: Path) -> None:
    """And says what broke, in a line."""
    file = tmp_path / "networks.py"
    file.write_text(NETWORK)
    finished("check", f"{file}:Network")
    said = call("check", f"{file}:Broken", "--kind", "backbone")
    assert said.code == 1
    assert "failed   shapes: RuntimeError: no such layer" in said.out
    assert "Traceback" not in said.err


def test_wrong_input_is_refused_in_few_lines(tmp_path: Path) -> None:
    """With the option or the name that mends it."""
    file = tmp_path / "networks.py"
    file.write_text(NETWORK)
    refused(call("check", "protonet"), 2, "'protonet'")
    refused(call("check", f"{file}:Missing"), 2, "Missing")
    refused(call("check", f"{file}:Neither"), 2, "neither a method nor a data set nor a backbone", "--kind")
    refused(call("check", f"{tmp_path}/none.py:Any"), 2, "none.py")
    refused(call("check", "maml", "--kind", "method", "--data-root", tmp_path), 2, "--data-root")
    refused(call("check", "digits", "--backbone", "conv4-64"), 2, "--backbone")
    refused(call("check", "maml", "--kind", "metod"), 2, "'method'")
    refused(call("check", "folder"), 3, "--data-root")
    file.write_text("class Network(:\n")
    refused(call("check", f"{file}:Network"), 2, "SyntaxError")
