"""The page of `komt web`: chat and blind comparison over an OpenAI-style API, and a look at runs.

    app  ─► chat, compare ─► client ─► http://…/v1
         ─► data, training, scores ─► runs ─► run folders (read only)

Every word a person reads stands in `words.yaml`, Korean beside English.
"""
