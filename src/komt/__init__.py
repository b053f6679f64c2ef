"""komt: Korean supervised datasets in, a fine-tuned, served and honestly evaluated language model out."""

__version__ = "0.1.0"
