"""fewshot-bench: a benchmark harness for few-shot learning.

What a plugin author or a notebook needs is here; each name is imported when it is first used, so that importing the
package costs nothing.
"""

TYPE_CHECKING = False  # as typing's own, whose import takes milliseconds in which Ctrl-C would print a traceback
if TYPE_CHECKING:
    from typing import Any

    from fewshot_bench.data.bank import ImageBank
    from fewshot_bench.data.dataset import Dataset, ImageClass
    from fewshot_bench.data.functions import FunctionFamily
    from fewshot_bench.episodes.randomness import task_orders, task_uniforms
    from fewshot_bench.episodes.tasks import Tasks
    from fewshot_bench.errors import DataError, FewshotError, UsageError
    from fewshot_bench.learning.backbone import Backbone, Parameters
    from fewshot_bench.learning.base import Conditions, Method, MethodInfo
    from fewshot_bench.learning.conv_block import Moments, conv_block
    from fewshot_bench.learning.embedding import EmbeddingMethod
    from fewshot_bench.learning.features import FeatureMethod, uniform_weights
    from fewshot_bench.learning.gradient import GradientHparams, GradientMethod
    from fewshot_bench.learning.inner_loop import Adapted, InnerLoop, Rates
    from fewshot_bench.learning.layers import conv2d, conv2d_moments, linear, per_channel
    from fewshot_bench.learning.losses import task_losses
    from fewshot_bench.learning.normalisation import RunningStatistics, Statistics, moments
    from fewshot_bench.results.comparison import Comparison, compare
    from fewshot_bench.results.families import Judged
    from fewshot_bench.results.pairs import Pair
    from fewshot_bench.results.records import Record, find_records, load_record
    from fewshot_bench.runs.api import run
    from fewshot_bench.specs import Steps

_HOME = {
    "Adapted": "learning.inner_loop",
    "Backbone": "learning.backbone",
    "Comparison": "results.comparison",
    "Conditions": "learning.base",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "EmbeddingMethod": "learning.embedding",
    "FeatureMethod": "learning.features",
    "FewshotError": "errors",
    "FunctionFamily": "data.functions",
    "GradientHparams": "learning.gradient",
    "GradientMethod": "learning.gradient",
    "ImageBank": "data.bank",
    "ImageClass": "data.dataset",
    "InnerLoop": "learning.inner_loop",
    "Judged": "results.families",
    "Method": "learning.base",
    "MethodInfo": "learning.base",
    "Moments": "learning.conv_block",
    "Pair": "results.pairs",
    "Parameters": "learning.backbone",
    "Rates": "learning.inner_loop",
    "Record": "results.records",
    "RunningStatistics": "learning.normalisation",
    "Statistics": "learning.normalisation",
    "Steps": "specs",
    "Tasks": "episodes.tasks",
    "UsageError": "errors",
    "compare": "results.comparison",
    "conv2d": "learning.layers",
    "conv2d_moments": "learning.layers",
    "conv_block": "learning.conv_block",
    "find_records": "results.records",
    "linear": "learning.layers",
    "load_record": "results.records",
    "moments": "learning.normalisation",
    "per_channel": "learning.layers",
    "run": "runs.api",
    "task_losses": "learning.losses",
    "task_orders": "episodes.randomness",
    "task_uniforms": "episodes.randomness",
    "uniform_weights": "learning.features",
}

__all__ = [
    "Adapted",
    "Backbone",
    "Comparison",
    "Conditions",
    "DataError",
    "Dataset",
    "EmbeddingMethod",
    "FeatureMethod",
    "FewshotError",
    "FunctionFamily",
    "GradientHparams",
    "GradientMethod",
    "ImageBank",
    "ImageClass",
    "InnerLoop",
    "Judged",
    "Method",
    "MethodInfo",
    "Moments",
    "Pair",
    "Parameters",
    "Rates",
    "Record",
    "RunningStatistics",
    "Statistics",
    "Steps",
    "Tasks",
    "UsageError",
    "compare",
    "conv2d",
    "conv2d_moments",
    "conv_block",
    "find_records",
    "linear",
    "load_record",
    "moments",
    "per_channel",
    "run",
    "task_losses",
    "task_orders",
    "task_uniforms",
    "uniform_weights",
]


def __getattr__(name: str) -> "Any":
    if name not in _HOME:
        raise AttributeError(f"module 'fewshot_bench' has no attribute {name!r}")
    from importlib import import_module

    from fewshot_bench.source.files_read import watch

    watch()  # a plugin's module that takes a name from here may read files next
    return getattr(import_module(f"fewshot_bench.{_HOME[name]}"), name)
