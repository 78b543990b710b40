"""Scripts 3 and 4: models x manifests -> scores and reports."""
