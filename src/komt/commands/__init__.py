"""One module per verb: `add_arguments(parser)` and `main(args) -> exit status`."""
