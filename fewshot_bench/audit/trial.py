"""The part of an audit that takes a second: `fsbench list --check` makes it of every plugin."""

from fewshot_bench.audit import paper
from fewshot_bench.audit.queries import findings
from fewshot_bench.audit.subject import Subject, fitted
from fewshot_bench.learning.base import Method
from fewshot_bench.plugins.faults import plugin_faults_told
from fewshot_bench.plugins.registry import Plugin

EPISODES = 16
"""Of the trial, where no image is embedded apart from its task, in the method's own mode alone."""


def try_out(plugin: Plugin) -> str | None:
    """Import a plugin, and ask a method a few tasks; raises `FewshotError` with what is wrong. Returns why a method was not
    tried."""
    paper.imports(plugin)
    return check_inductive(plugin.load()) if plugin.group == "methods" else None


def check_inductive(method_class: type[Method]) -> str | None:
    """Raises `NotInductive` where the answers of a method that declares nothing depend on other queries or tasks.

    One that cannot be built from its class alone, or that answers no small task, is not tried: returns why.
    """
    if method_class.transductive or "classification" not in method_class.kinds:
        return None
    try:
        subject = fitted(Subject(method_class, {}, None, "classification"))
    except Exception as error:  # whatever a plugin raises that needs more than its class
        return f"not tried out ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    with plugin_faults_told():
        found = findings(subject, (subject.mode,), EPISODES).moved
    for _, refusal in found.values():
        raise refusal
    return None
