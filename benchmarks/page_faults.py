"""Claim: keeping freed memory (`core.training.device.keep_memory`) saves a conv net on a CPU most of its page faults.

    python benchmarks/page_faults.py

Forward, backward and step of the CIFAR-10 ConvNet in one thread, in two fresh processes, without and with it; user and
system time and page faults per step as the kernel counts them.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEPS = 40


def measured(keep: bool) -> str:
    """Milliseconds and page faults per step of this process."""
    sys.path.insert(0, str(ROOT))
    import torch

    from core.models import ConvNet
    from core.pipeline import make
    from core.training.device import fast_layout, keep_memory

    torch.set_num_threads(1)
    if keep:
        keep_memory()
    model = make(ConvNet(channels=(16, 16, 32, 32, 64)), (3, 32, 32), 10)
    x, y = fast_layout(torch.randn(64, 3, 32, 32)), torch.randint(10, (64,))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)
    for step in range(STEPS + 3):
        if step == 3:
            before = resource.getrusage(resource.RUSAGE_SELF)
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = (1000 * (getattr(after, n) - getattr(before, n)) / STEPS for n in ("ru_utime", "ru_stime"))
    return f"{user:.1f} ms user, {system:.1f} ms system, {(after.ru_minflt - before.ru_minflt) / STEPS:.0f} page faults"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measured(sys.argv[1] == "with"))
    else:
        for name in ("without", "with"):
            shown = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True).stdout
            print(f"{name:8} {shown.strip()} per step")
