"""What the fork server imports once for all executors.

Nothing here may ask for a GPU, not even whether there is one: CUDA does not survive a fork.
"""

import gc
from contextlib import suppress

with suppress(Exception):  # an executor that cannot import it says so itself
    import torch._dynamo  # noqa: F401 (torch.optim imports it with the first optimizer, in a second or two)

    import cifar_tune.executors.worker  # noqa: F401

gc.freeze()  # else the first collection in an executor writes to, and so copies, every page
