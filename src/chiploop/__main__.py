"""`python -m chiploop` is the command `chiploop`."""

from chiploop.cli.app import main

raise SystemExit(main())
