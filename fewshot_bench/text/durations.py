"""Times in words."""


def duration(seconds: float) -> str:
    """About how long: `1.5 s`, `40 s`, `12 min`, `3.2 h`, `9 d`."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.0f} d"
