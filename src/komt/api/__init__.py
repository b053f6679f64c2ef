"""The OpenAI-style API: `komt serve`."""
