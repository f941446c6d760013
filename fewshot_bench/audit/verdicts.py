"""What an audit says: a verdict for each check, with the numbers that made it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from fewshot_bench.errors import FewshotError, PluginError, UsageError, unknown
from fewshot_bench.plugins.faults import plugin_faults_told

Standing = Literal["passed", "failed", "skipped"]


class CheckFailed(PluginError):
    """A plugin does not hold what its interface promises; the message names each check that failed."""


class Skip(Exception):
    """A check that does not apply or cannot be made, and why."""


class Fault(Exception):
    """A check that failed, and the numbers that broke it."""


@dataclass(frozen=True)
class Check:
    """One check: its name, its verdict, and what was seen, or why it was skipped."""

    name: str
    standing: Standing
    said: str

    def __str__(self) -> str:
        return f"{self.standing:<7}  {self.name}: {self.said}"


@dataclass(frozen=True)
class Audit:
    """Every check of a plugin, in order."""

    subject: str
    """What was checked, as it was named."""
    kind: str
    """`method`, `dataset` or `backbone`."""
    checks: tuple[Check, ...]

    def __getitem__(self, name: str) -> Check:
        """The check of that name; raises `KeyError`."""
        return {one.name: one for one in self.checks}[name]

    def having(self, standing: Standing) -> list[Check]:
        """The checks of a verdict."""
        return [one for one in self.checks if one.standing == standing]

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and something passed: a skip is no pass."""
        return not self.having("failed") and bool(self.having("passed"))

    @property
    def summary(self) -> str:
        """How many checks passed, failed and were skipped, in a line."""
        counts = ", ".join(f"{len(self.having(one))} {one}" for one in ("passed", "failed", "skipped"))
        return f"{self.kind} {self.subject}: {counts}"

    def __str__(self) -> str:
        return "\n".join([*map(str, self.checks), self.summary])

    def raise_for_failures(self) -> "Audit":
        """The audit itself; raises `CheckFailed` that names each check that failed."""
        if self.passed:
            return self
        failed = self.having("failed") or [Check("nothing", "failed", "no check could be made")]
        raise CheckFailed("\n".join([self.summary, *(f"{one.name}: {one.said}" for one in failed)]))


def judged(name: str, check: Callable[[], str]) -> Check:
    """The verdict of a check: it returns what it saw, or raises `Skip` or `Fault`. What the plugin's own code raises is a
    failure too."""
    try:
        with plugin_faults_told():
            return Check(name, "passed", check())
    except Skip as reason:
        return Check(name, "skipped", str(reason))
    except Fault as fault:
        return Check(name, "failed", str(fault))
    except FewshotError as error:
        return Check(name, "failed", " ".join(str(error).split()))
    except Exception as error:  # in torch or the core, at work for the plugin
        return Check(name, "failed", " ".join(f"{type(error).__name__}: {error}".split()))


def all_judged(checks: Mapping[str, Callable[[], str]], needed: Iterable[str]) -> list[Check]:
    """The verdicts of several checks. Where one of those `needed` fails, those after it are skipped."""
    made: list[Check] = []
    broken, needed = "", set(needed)
    for name, check in checks.items():
        if broken:
            made.append(Check(name, "skipped", f"cannot be tried while {broken!r} fails"))
            continue
        made.append(judged(name, check))
        if made[-1].standing != "passed" and name in needed:
            broken = name
    return made


def excused(checks: Iterable[Check], expected: Mapping[str, str] | None, never: Iterable[str]) -> tuple[Check, ...]:
    """The checks, of which those `expected` to fail, each with a reason, are skipped; raises `UsageError` for one of
    `never`, for one that passes and for a name that there is not."""
    found, expected = list(checks), expected or {}
    for name, reason in expected.items():
        if name not in (names := [one.name for one in found]):
            raise unknown("check", name, names)
        if name in set(never):
            raise UsageError(f"Check {name!r} cannot be excused: where queries see each other, declare transductive = True.")
        if not (isinstance(reason, str) and reason.strip()):
            raise UsageError(f"expected[{name!r}] must be the reason why it fails, a text.")
        if next(one for one in found if one.name == name).standing == "passed":
            raise UsageError(f"Check {name!r} is expected to fail ({reason}), but passes: take it out of `expected`.")
    said = {one.name: f"expected to fail: {expected[one.name]} ({one.said})" for one in found if one.name in expected}
    return tuple(replace(one, standing="skipped", said=said[one.name]) if one.name in said else one for one in found)
