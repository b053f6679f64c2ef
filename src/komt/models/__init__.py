"""Which model: catalogue, names to folders, loading, chat template."""

import logging

# On import it warns of an optional kernel from a hub, which komt does not use.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
