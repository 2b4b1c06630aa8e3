"""`python -m jupyter_sky` is the command line."""

from __future__ import annotations

from jupyter_sky.cli import main

main()
