"""Seeds for one purpose each, from the seed of a specification."""

import hashlib


def derive_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose, so that initialisation, dropout and so on do not share a stream."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:8], "little") >> 1
