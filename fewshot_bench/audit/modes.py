"""The modes of normalisation that a method declares: each is asked, or says why not."""

from collections.abc import Callable
from functools import partial

from fewshot_bench.audit import symmetries
from fewshot_bench.audit.subject import Subject, finite
from fewshot_bench.audit.verdicts import Skip
from fewshot_bench.errors import UsageError
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Normalisation


def mode_checks(subject: Subject) -> dict[str, Callable[[], str]]:
    """A check for each mode; tasks of functions have the mode `none` alone, which the other checks ask."""
    if subject.kind == "regression":
        return {}
    return {f"normalisation {mode}": partial(_asked, subject, mode) for mode in sorted(subject.method_class.modes)}


def inductive_modes(subject: Subject) -> tuple[Normalisation, ...]:
    """Those in which no query may see another, without those that are not asked."""
    if subject.kind == "regression":
        return ("none",)
    declared = sorted(subject.method_class.modes - TRANSDUCTIVE_MODES)
    return tuple(mode for mode in declared if not _unasked(subject.in_mode(mode)))


def _unasked(subject: Subject) -> str:
    """Why a method is not asked in its mode; "" where it is."""
    if subject.mode == "none" and subject.method_class.needs_backbone and subject.backbone().channels:
        return "the backbone normalises, and no run takes one that does without normalisation"
    try:
        subject.said(subject.build(), subject.tasks(1))
    except UsageError as error:
        return f"it refuses the mode: {' '.join(str(error).split())}"
    return ""


def _asked(subject: Subject, mode: Normalisation) -> str:
    """That scores are numbers and depend on no other task; for the queries of inductive modes see `queries`."""
    one = subject.in_mode(mode)
    if reason := _unasked(one):
        raise Skip(reason)
    finite(one.said_anew(one.tasks()), one.tasks())
    symmetries.state(one)
    said = symmetries.tasks_at_once(one)
    if subject.transductive:
        return f"{said}; it declares transductive = True"
    return f"{said}; queries normalise each other in this mode" if mode in TRANSDUCTIVE_MODES else said
