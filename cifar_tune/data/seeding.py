"""Seeds that depend on what they are for and on nothing else."""

import hashlib
import json


def derive_seed(*parts: str | int) -> int:
    """A seed of 63 bits for this purpose: `derive_seed("order", seed, epoch)`.

    Seeds of different parts are unrelated, so that neither neighbouring seeds nor neighbouring epochs share draws, and
    none needs the state of a generator that ran before. SHA-256 keeps them equal across machines and versions.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
