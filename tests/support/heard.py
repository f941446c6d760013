"""A listener that keeps what a user would be told."""

from dataclasses import dataclass, field

from fewshot_bench.runs.listener import Listener


@dataclass
class Heard(Listener):
    """Keeps the notes."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)
