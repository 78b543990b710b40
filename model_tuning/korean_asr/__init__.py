"""Fine-tuning wav2vec2-CTC on Korean speech: the modules that the four numbered scripts share."""

import os

# Before torch is imported: its C++ side warns each process that DDP looks for unused parameters. It must, for layerdrop.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
