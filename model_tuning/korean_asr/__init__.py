"""Fine-tuning wav2vec2-CTC on Korean speech: the modules that the four numbered scripts share."""
