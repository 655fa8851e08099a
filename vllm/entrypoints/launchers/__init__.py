"""Upstream's names of modules of the server, for programs that start them."""
