"""How fast it is: our parts and the installed peers, in turn, on the same work."""
