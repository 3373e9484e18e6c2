"""The server: the REST API, the live stream and the loops over one store. It runs nobody's code and unpickles nothing."""
