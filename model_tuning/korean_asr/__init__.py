"""Fine-tune wav2vec2-CTC on Korean speech: the modules that the four numbered scripts share."""

import os

# Set before torch is imported. Its C++ code warns in each process that DDP looks for unused
# parameters; layerdrop leaves some unused, so DDP must look.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
# Also read when torch is imported. A thread that waits for the others turns in a loop, by libgomp's
# default 300,000 times. Where other programs use the cores, too, that burns the time which the late
# thread needs: up to 30 times slower (tests/benchmarks/busy_cores.py). After 1,000 turns it sleeps,
# which costs little on free cores. What the user chose is kept.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
