"""fewshot-bench: a benchmark harness for few-shot learning.

What a plugin author or a notebook needs is here; each name is imported when it is first used, so that importing the
package costs nothing.
"""

TYPE_CHECKING = False  # as typing's own, whose import takes milliseconds in which Ctrl-C would print a traceback
if TYPE_CHECKING:
    from typing import Any

    from fewshot_bench.backbone import Backbone
    from fewshot_bench.bank import ImageBank
    from fewshot_bench.dataset import Dataset, ImageClass
    from fewshot_bench.errors import DataError, FewshotError, UsageError
    from fewshot_bench.execution import run
    from fewshot_bench.feature_method import FeatureMethod
    from fewshot_bench.functions import FunctionFamily
    from fewshot_bench.gradient_method import GradientHparams, GradientMethod
    from fewshot_bench.inner_loop import InnerLoop
    from fewshot_bench.method import Conditions, EmbeddingMethod, Method, MethodInfo
    from fewshot_bench.randomness import task_orders, task_uniforms
    from fewshot_bench.records import Record, find_records, load_record
    from fewshot_bench.tasks import Tasks

_HOME = {
    "Backbone": "backbone",
    "Conditions": "method",
    "DataError": "errors",
    "Dataset": "dataset",
    "EmbeddingMethod": "method",
    "FeatureMethod": "feature_method",
    "FewshotError": "errors",
    "FunctionFamily": "functions",
    "GradientHparams": "gradient_method",
    "GradientMethod": "gradient_method",
    "ImageBank": "bank",
    "ImageClass": "dataset",
    "InnerLoop": "inner_loop",
    "Method": "method",
    "MethodInfo": "method",
    "Record": "records",
    "Tasks": "tasks",
    "UsageError": "errors",
    "find_records": "records",
    "load_record": "records",
    "run": "execution",
    "task_orders": "randomness",
    "task_uniforms": "randomness",
}

__all__ = [
    "Backbone",
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
    "Method",
    "MethodInfo",
    "Record",
    "Tasks",
    "UsageError",
    "find_records",
    "load_record",
    "run",
    "task_orders",
    "task_uniforms",
]


def __getattr__(name: str) -> "Any":
    if name not in _HOME:
        raise AttributeError(f"module 'fewshot_bench' has no attribute {name!r}")
    from importlib import import_module

    from fewshot_bench.files_read import watch

    watch()  # a plugin's module that takes a name from here may read files next
    return getattr(import_module(f"fewshot_bench.{_HOME[name]}"), name)
