"""The reproduction report as a page beside the leaderboard's, with the learning curves in it."""

from collections.abc import Sequence

from markupsafe import Markup

from fewshot_bench.results.tables import Board
from fewshot_leaderboard.curves import FIGURES, description, notes, panels
from fewshot_leaderboard.learning_curves import learning_curves
from fewshot_leaderboard.page import asset, policy, template
from fewshot_leaderboard.reproduction import CURVES, HOW, NONE, Reproduction


def reproduction_page(found: Sequence[Board]) -> str:
    """The page as HTML, of tables of results; the same ones give the same bytes."""
    reproduction = Reproduction.of(found)
    curves = {title: learning_curves(found, dataset, 5, 1) for dataset, title in FIGURES.items()}
    figures = [
        (title, [Markup(svg) for _, svg in panels(own)], notes(own), description(own))
        for title, own in curves.items()
        if own
    ]
    style = asset("style.css") + asset("curves.css") + asset("reproduction.css")
    return template("reproduction.html").render(
        reproduction=reproduction,
        how=HOW,
        about_curves=CURVES,
        figures=figures,
        none=NONE,
        style=Markup(style),
        policy=policy(style),
    )
