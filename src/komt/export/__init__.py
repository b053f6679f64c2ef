"""Files for other programs: merged models, adapters, GGUF, each checked by gates before it appears."""
