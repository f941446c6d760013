"""Who hears how a run goes."""

import logging

from fewshot_bench.data.dataset import Progress
from fewshot_bench.results.score_files import Scores
from fewshot_bench.runs.training import Progressed


class Listener:
    """Hears how a run goes. This one never asks to stop, and passes to Python's log what a user should know."""

    def preparing(self, name: str) -> Progress:
        """Called before a data set is prepared; the result is called with (done, total) images."""
        return lambda done, total: None

    def training(self, at: Progressed, updates: int) -> None:
        """Called before training, with the state that it starts from."""

    def trained(self, at: Progressed, loss: float) -> None:
        """Called after each update."""

    def stopped(self) -> bool:
        """Whether training should stop after the present update."""
        return False

    def testing(self, episodes: int) -> None:
        """Called before a test of so many episodes."""

    def tested(self, scores: Scores) -> None:
        """Called after each block with all scores so far."""

    def note(self, text: str) -> None:
        """Called with something that a user should know."""
        logging.getLogger("fewshot_bench").warning(text)
