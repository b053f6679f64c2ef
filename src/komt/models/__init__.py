"""Which model: catalogue, names to folders, loading, chat template."""
