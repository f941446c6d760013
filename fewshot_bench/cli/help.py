"""The help text of a command: plain, 80 columns, options by panel. Rich's own panels would make help too slow."""

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose help shows the arguments, the options, then each `rich_help_panel` under its own title."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the panels, in the order in which they first occur among the parameters."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                panels.setdefault(_panel(parameter), []).append(record)
        for title, records in panels.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _panel(parameter: Any) -> str:
    plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
    return getattr(parameter, "rich_help_panel", None) or plain
