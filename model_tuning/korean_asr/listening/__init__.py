"""listen.py: what a model hears in recordings, and when."""
