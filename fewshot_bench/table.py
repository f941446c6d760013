"""One table type for everything that is printed.

A `Table` holds values (for sorting, JSON, CSV) beside their texts (for people), so that no two forms can disagree.
"""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fewshot_bench.text.escapes import in_csv, in_latex, in_markdown
from fewshot_bench.text.printable import LONGEST, cleaned, printable

if TYPE_CHECKING:
    import pandas as pd  # slow to import

Align = Literal["left", "right"]
Format = Literal["text", "markdown", "csv", "latex", "json"]

GAP = "  "
INDENT = "   "
EMPTY = frozenset({"", "–"})
LONGEST_CELL = 1000


@dataclass(frozen=True)
class Column:
    """A column: its key in data, its header for people, what it means."""

    key: str
    header: str
    definition: str
    align: Align = "left"
    shown: bool = True
    """False: in JSON and CSV alone."""
    leads: bool = False
    """True: stays in the table even where all rows agree or are empty."""
    links: bool = False
    """True: its texts are this project's own, and an address in them may be a link."""


@dataclass(frozen=True)
class Cell:
    """A JSON value and its text for people, both `printable`: a record's text must not move a terminal's cursor or break a
    row."""

    value: Any
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", cleaned(self.value))
        object.__setattr__(self, "text", printable(self.text, LONGEST_CELL))

    @classmethod
    def of(cls, value: Any) -> "Cell":
        """The cell whose text is the plain form of its value; a dash where there is none."""
        return cls(value, "–" if value is None else str(value))


@dataclass(frozen=True)
class Table:
    """A titled table. `about` holds what is the same for all rows and leads them in data; `notes` stand below it. All of
    its texts are `printable`."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]
    """Each row a cell by column key."""
    notes: Sequence[str] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = [replace(one, header=printable(one.header), definition=printable(one.definition)) for one in self.columns]
        about = {"title": printable(self.title, LONGEST_CELL), "about": cleaned(dict(self.about)), "columns": columns}
        about["notes"] = [printable(note, LONGEST) for note in self.notes]
        for name, value in about.items():
            object.__setattr__(self, name, value)

    def frame(self) -> "pd.DataFrame":
        """The values as a DataFrame: `about`, then every column, shown or not."""
        import pandas as pd

        return pd.DataFrame(self.values(), columns=[*self.about, *(c.key for c in self.columns)], dtype=object)

    def visible(self) -> list[Column]:
        """The columns for people: the shown ones that say something in at least one row."""
        return [c for c in self.columns if c.shown and (c.leads or any(row[c.key].text not in EMPTY for row in self.rows))]

    def text(self, width: int = 80) -> str:
        """Plain text for a terminal, `width` characters wide unless a leading column is wider.

        Where the columns do not fit, what all rows share moves into a line above; then the widest columns, each to a
        line below its row.
        """
        columns = self.visible()
        shared: list[Column] = []
        below: list[Column] = []
        while self._width(columns) > width and (spare := [c for c in columns if not c.leads]):
            same = [c for c in spare if len({row[c.key].text for row in self.rows}) == 1]
            moved = same or [max(spare, key=self._column_width)]
            (shared if same else below).extend(moved)
            columns = [c for c in columns if c not in moved]
        above = [self.title, *(["All rows: " + self._named(shared, self.rows[0])] if shared else [])]
        head, rule = [c.header for c in columns], ["-" * self._column_width(c) for c in columns]
        lines = [self._line(head, columns), self._line(rule, columns)]
        for row in self.rows:
            lines.append(self._line([row[c.key].text for c in columns], columns))
            lines += textwrap.wrap(self._named(below, row), width, initial_indent=INDENT, subsequent_indent=INDENT)
        return "\n".join([*_wrapped(above, width), "", *lines, "", *_wrapped(self.notes, width)]).rstrip() + "\n"

    def markdown(self) -> str:
        """GitHub's Markdown: a heading, a table, the notes as a list."""
        columns = self.visible()
        head = [in_markdown(c.header) for c in columns]
        rule = ["---:" if c.align == "right" else ":---" for c in columns]
        body = [[in_markdown(row[c.key].text, links=c.links) for c in columns] for row in self.rows]
        lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]
        notes = [f"- {in_markdown(note, begins=True)}" for note in self.notes]
        return "\n".join([f"### {in_markdown(self.title)}", "", *lines, "", *notes]) + "\n"

    def csv(self) -> str:
        """The values, one row a line under a header; accuracies in [0, 1], nested values as JSON."""
        return in_csv(self.values())

    def values(self) -> list[dict[str, Any]]:
        """The values of each row: `about`, then every column, shown or not."""
        return [{**self.about, **{c.key: row[c.key].value for c in self.columns}} for row in self.rows]

    def latex(self) -> str:
        """A `table` for LaTeX's booktabs; the notes are comments."""
        import pandas as pd

        columns = self.visible()
        texts = [[in_latex(row[c.key].text) for c in columns] for row in self.rows]
        frame = pd.DataFrame(texts, columns=[in_latex(c.header) for c in columns])
        body = frame.to_latex(
            index=False,
            escape=False,
            caption=in_latex(self.title),
            column_format="".join("r" if c.align == "right" else "l" for c in columns),
        )
        return "".join(f"% {note}\n" for note in self.notes) + body

    def json(self) -> dict[str, Any]:
        """Title, `about`, definitions of the columns, rows of values and notes, for JSON."""
        columns = [{"key": c.key, "header": c.header, "definition": c.definition} for c in self.columns]
        rows = [{c.key: row[c.key].value for c in self.columns} for row in self.rows]
        return {"title": self.title, **self.about, "columns": columns, "rows": rows, "notes": list(self.notes)}

    def _column_width(self, column: Column) -> int:
        return max(len(column.header), *(len(row[column.key].text) for row in self.rows), 0)

    def _width(self, columns: Sequence[Column]) -> int:
        return sum(map(self._column_width, columns)) + len(GAP) * (len(columns) - 1)

    def _line(self, texts: Sequence[str], columns: Sequence[Column]) -> str:
        widths = map(self._column_width, columns)
        aligned = [f"{t:{'>' if c.align == 'right' else '<'}{w}}" for t, c, w in zip(texts, columns, widths, strict=True)]
        return GAP.join(aligned).rstrip()

    def _named(self, columns: Sequence[Column], row: Mapping[str, Cell]) -> str:
        """`header value; header value` of the columns that this row fills, in the table's order."""
        filled = [c for c in self.columns if c in columns and row[c.key].text not in EMPTY]
        return "; ".join(f"{c.header} {row[c.key].text}" for c in filled)


def render(tables: Sequence[Table], format: Format, width: int = 80) -> str:
    """All tables as one text; CSV is one tidy file in which the first columns say what each row belongs to."""
    match format:
        case "text":
            return "\n".join(table.text(width) for table in tables)
        case "markdown":
            return "\n".join(table.markdown() for table in tables)
        case "latex":
            return "\n".join(table.latex() for table in tables)
        case "json":
            return json.dumps({"tables": [table.json() for table in tables]}, indent=1, allow_nan=False) + "\n"
        case "csv":
            return in_csv([row for table in tables for row in table.values()])


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, width)]
