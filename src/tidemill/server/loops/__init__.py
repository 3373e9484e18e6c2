"""The background loops of a server: each does one thing now and then, for all servers on one database."""
