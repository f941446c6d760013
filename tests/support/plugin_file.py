"""A method in a file of its own, sound but for what a test changes, and how its refusal reads."""

from pathlib import Path

from command_line import Said


def refused(said: Said, code: int, *words: str) -> None:
    """One to three lines with these words, and nothing else."""
    assert said.code == code, said.err
    assert said.out == ""
    assert 1 <= len(said.complaint.splitlines()) <= 3, said.err
    assert "Traceback" not in said.err
    assert [word for word in words if word not in said.complaint] == [], said.complaint


METHOD = """
from dataclasses import dataclass
import torch
from fewshot_bench import Method

class Tiny(Method):
    needs_backbone = False
    {declared}

    def __init__(self, hparams, info, backbone):
        super().__init__(hparams, info, backbone)
        {built}

    def batch_loss(self, x, y):
        return {batch_loss}

    def loss(self, tasks):
        return {loss}

    def after_update(self):
        {after}

    def embed_images(self, images):
        return {embed}

    def predict(self, tasks):
        x, n = tasks.query_x.flatten(2).sum(2), tasks.ways
        return {predict}
"""
SOUND = {
    "declared": "",
    "built": "self.weight = torch.nn.Parameter(torch.ones(1))",
    "loss": "tasks.query_x.flatten(1).sum(1) * self.weight",
    "batch_loss": "x.flatten(1).sum(1) * self.weight",
    "after": "pass",
    "embed": "None",
    "predict": "x.new_zeros(*x.shape, n)",
}


def plugin(folder: Path, **changes: str) -> str:
    """The reference of a method that is sound but for `changes`."""
    (folder / "tiny.py").write_text(METHOD.format(**SOUND | changes))
    return f"{folder / 'tiny.py'}:Tiny"
