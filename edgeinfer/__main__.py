"""``python -m edgeinfer``: the command line, where no script is on the path."""

from edgeinfer.cli import main

main()
