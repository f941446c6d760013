"""learn2learn's process: every work from every source, and its failures."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tiny import blobs

from fewshot_bench.bench import data
from fewshot_bench.bench.peer_process import PeerError, PeerProcess, installed
from fewshot_bench.bench.works import META_BATCH, TRAINING, WORKS
from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.data.prepare import Prepared
from fewshot_datasets.glyphs.glyphs import Glyphs

ASKED = [(work.name, source) for work in WORKS.values() for source in (*work.sources, *work.extras)]


class Blobs(Prepared):
    """As many classes as the works need."""

    def bank(self, split: str) -> MemmapBank:
        """The same for all."""
        return blobs(TRAINING.ways, 16)


@pytest.fixture(scope="module")
def peer(l2l: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    """learn2learn on small random images, on one thread."""
    classes, _ = data.image_files(Glyphs(), Blobs(Path(), {}), "test", tmp_path_factory.mktemp("files"), print)
    with PeerProcess("cpu", 1, classes, classes).started() as peer:
        yield peer


@pytest.mark.parametrize(("work", "source"), ASKED)
def test_it_answers_with_units_per_second(peer: PeerProcess, work: str, source: str) -> None:
    """For each work and each source of its images."""
    assert peer.rate(work, source, META_BATCH if work == "maml-training" else 1) > 0


def test_what_goes_wrong_in_it_is_one_line(l2l: ModuleType) -> None:
    """And the next question finds it gone."""
    with PeerProcess("cpu", 1, [], []).started() as peer:
        with pytest.raises(PeerError, match="no work 'x' from 'files'") as error:
            peer.rate("x", "files", 1)
        assert len(str(error.value).splitlines()) == 1
        with pytest.raises(PeerError, match="ended"):
            peer.rate("x", "files", 1)


def test_a_broken_installation_of_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found, and cannot be imported."""
    (tmp_path / "learn2learn.py").write_text("raise ImportError('no symbol in it')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "learn2learn", raising=False)
    assert installed()
    with pytest.raises(PeerError, match="ImportError: no symbol in it") as error:
        PeerProcess("cpu", 1, [], []).started()
    assert len(str(error.value).splitlines()) == 1
