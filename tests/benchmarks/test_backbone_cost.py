"""The table of what an epoch of each backbone costs is made, whatever the times are."""

import backbone_cost
import pytest


def test_a_backbone_has_a_row_of_both_sides(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Images a second and the time of an epoch at 32 and at 84 pixels."""
    monkeypatch.setattr(backbone_cost, "LEAST_S", 0.0)
    monkeypatch.setattr(backbone_cost, "LEAST_PASSES", 1)
    backbone_cost.main(["conv4-32"])
    head, line, row = capsys.readouterr().out.splitlines()
    assert head.count("|") == line.count("|") == row.count("|") == 6
    assert row.startswith("| `conv4-32` | ")


def test_times_have_two_digits_and_a_unit_that_suits_them() -> None:
    """Minutes up to an hour and a half."""
    assert [backbone_cost.hours(one) for one in (60, 4000, 5399, 36_000)] == ["1 min", "67 min", "90 min", "10 h"]
