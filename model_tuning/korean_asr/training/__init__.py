"""Script 2: manifests -> split, tokens, fine-tuned model."""
