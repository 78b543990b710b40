"""Script 1: corpora on disk -> cleaned manifests."""
