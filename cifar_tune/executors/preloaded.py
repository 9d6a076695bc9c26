"""What the fork server imports once for all executors, and each actor of Ray for itself.

Nothing here may ask for a GPU, not even whether there is one: CUDA does not survive a fork.
"""

import gc
from contextlib import suppress

from cifar_tune.memory import uncollected

with suppress(Exception), uncollected():  # an executor that cannot import it says so itself
    import cifar_tune.executors.worker  # noqa: F401

gc.freeze()  # else the first collection in an executor writes to, and so copies, every page
