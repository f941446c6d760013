"""A method that a test asks directly, where the engine would ask it `under` conditions."""

from dataclasses import replace
from typing import TypeVar

from fewshot_bench import kernels
from fewshot_bench.learning.base import Conditions, Method

M = TypeVar("M", bound=Method)


def held(method: M, conditions: Conditions) -> M:
    """The method, which from now on stands under these conditions where nobody states others. Whose kernels compute is not
    changed: its conditions say what does at present."""
    method._conditions = replace(conditions, kernels=kernels._present)
    return method
