"""Scripts 3 and 4: score models on the clips of a manifest, and report."""
