"""Fine-tune wav2vec2-CTC on Korean speech: the modules that the four numbered scripts share."""

import os

# Set before torch is imported. Its C++ code warns in each process that DDP looks for unused
# parameters; layerdrop leaves some unused, so DDP must look.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
