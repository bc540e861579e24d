"""The command line: one subcommand a file, heavy libraries imported only where a command needs them."""
