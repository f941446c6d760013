"""The audit of a method."""

from collections.abc import Callable, Mapping
from typing import Any

from fewshot_bench.audit import paper, queries, symmetries, training
from fewshot_bench.audit.modes import mode_checks
from fewshot_bench.audit.subject import Subject, fitted, without_inputs
from fewshot_bench.audit.verdicts import Audit, Check, all_judged, excused, judged
from fewshot_bench.plugins.registry import Plugin

BUILT = "shapes"
"""The check without which none of those after it can be made."""
NEVER_EXCUSED = (*queries.FINDINGS, "query labels")
"""The checks that a caller cannot expect to fail."""


def audit_method(
    plugin: Plugin,
    network: Callable[[tuple[int, ...]], Any] | None = None,
    hparams: Mapping[str, Any] | None = None,
    expected: Mapping[str, str] | None = None,
) -> Audit:
    """Every check of a method, on a `network` or a small one of the audit's own."""
    checks = [judged("import", lambda: paper.imports(plugin))]
    if checks[0].standing == "passed":
        checks += _of_class(plugin, network, hparams or {})
    return Audit(plugin.said, "method", excused(checks, expected, _every_kind(NEVER_EXCUSED)))


def _of_class(plugin: Plugin, network: Callable[[tuple[int, ...]], Any] | None, hparams: Mapping[str, Any]) -> list[Check]:
    method_class = plugin.load()
    made = [
        judged("hyper-parameters", lambda: paper.hyper_parameters(method_class)),
        judged("recipes", lambda: paper.recipes(plugin)),
    ]
    subjects = [Subject(method_class, hparams, network, kind) for kind in sorted(method_class.kinds)]
    untaken = [without_inputs(one) for one in subjects]
    for subject, reason in zip(subjects, untaken, strict=True):
        suffix = f" ({subject.kind})" if len(subjects) > 1 else ""
        if reason and not all(untaken):  # a network of images, where the method takes functions too
            made.append(Check(f"{BUILT}{suffix}", "skipped", f"the backbone takes no such inputs: {reason}"))
            continue
        made += [Check(f"{one.name}{suffix}", one.standing, one.said) for one in _of_kind(subject)]
    return made


def _of_kind(subject: Subject) -> list[Check]:
    """The checks of a method with tasks of one kind."""
    try:
        subject = fitted(subject)
    except Exception as error:  # whatever a plugin raises is told by `shapes`
        problem = error

        def shapes() -> str:
            raise problem

    else:

        def shapes() -> str:
            return symmetries.shapes(subject)

    def of(check: Callable[[Subject], str]) -> Callable[[], str]:
        return lambda: check(subject)

    return all_judged(
        {
            BUILT: shapes,
            "normalising layers": of(training.layers),
            "determinism": of(symmetries.determinism),
            "random numbers": of(queries.random_numbers),
            **queries.query_checks(subject),
            "query labels": of(queries.hidden_labels),
            **mode_checks(subject),
            "support order": of(symmetries.support_order),
            "renamed ways": of(symmetries.renamed_ways),
            "losses": of(training.training_losses),
            "gradients": of(training.gradients),
            "save and load": of(training.saved),
            "accelerator": of(training.accelerator),
        },
        needed=[BUILT],
    )


def _every_kind(names: tuple[str, ...]) -> list[str]:
    return [f"{name}{suffix}" for name in names for suffix in ("", " (classification)", " (regression)")]
