"""What the fork server imports once for all executors, and each actor of Ray for itself.

Nothing here may ask for a GPU, not even whether there is one: CUDA does not survive a fork.
"""

import gc
from contextlib import suppress

from cifar_tune.memory import uncollected

with suppress(Exception), uncollected():  # an executor that cannot import it says so itself
    import numpy.ma  # noqa: F401 (numpy imports it to find the distinct labels of images)

    import cifar_tune.executors.worker  # noqa: F401
    from cifar_tune.knobs.configuration import complete
    from cifar_tune.models.build import count_multiply_adds

    # each trial is counted, and the first count of a process imports more of torch
    count_multiply_adds(complete({"model": "tutorial_net"}), (3, 32, 32), 10)

gc.freeze()  # else the first collection in an executor writes to, and so copies, every page
